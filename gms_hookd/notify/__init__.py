"""notify/: whom a notice is for, what it looks like there, and what an answer means.

One module a kind of target with NAME, PACE, `render(notice, target, now) -> Request`
and `judge(answer) -> Verdict`; all of it pure. `registry` has the table of them. Knows
no store and no socket: sending is another's.
Names: Notice, Target, Request, Answer, Verdict, KINDS.

May import: auth, payload.
"""
