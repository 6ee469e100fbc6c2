"""notify/: whom a notice is for, what it looks like there, and what an answer means.

One module a kind of target with NAME, PACE, `render(notice, target, now)`, which makes
the request, and `judge(answer)`, which says what became of it; all of it pure.
`registry` has the table of them. Knows no store and no socket: sending is another's.
Names: Notice, Target, VendorRequest, VendorAnswer, SendResult, KINDS.

May import: auth, payload, units.
"""
