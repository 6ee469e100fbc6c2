"""Whether the wall clock can be believed where something is deleted by its age.

It may jump: a machine without a battery starts in 1970 or in 2106, a resumed one
catches up, somebody sets it. What was seen of it last is kept in the store.
"""

from typing import NamedTuple

from gms_hookd.model import Moment
from gms_hookd.store import runs
from gms_hookd.store.dbthread import Connection

DAY = 86_400_000  # ms


class Watched(NamedTuple):
    """Both clocks at the last look, and how long (ms) the wall clock is in doubt."""

    seen: Moment
    doubt: int = 0


def jump(last: Watched | None, now: Moment) -> int:
    """Return how many ms the wall clock has gained on the time that has passed.

    After a start of the machine that is only known to be no less than its time up.
    """
    if last is None:
        return 0
    passed = now.up - last.seen.up
    return now.wall - last.seen.wall - (passed if passed >= 0 else now.up)


def looked(last: Watched | None, now: Moment, ran: int) -> Watched:
    """Return what is known after a look, `ran` ms of running after the last one.

    A jump forward of more than a day may be an error: the new time is believed when it
    has lasted a day of running.
    """
    if jump(last, now) > DAY:
        return Watched(now, DAY)
    return Watched(now, max(last.doubt - ran, 0) if last else 0)


def last(db: Connection) -> Watched | None:
    """Return what was noted last, None in a new store."""
    row = db.execute("SELECT wall_ms,up_ms,doubt_ms FROM clock").fetchone()
    if row is None:
        return None
    wall, up, doubt = row
    return Watched(Moment(wall, up), doubt)


def note(db: Connection, watched: Watched) -> None:
    """Note what is known now."""
    query = "INSERT OR REPLACE INTO clock(id,wall_ms,up_ms,doubt_ms) VALUES(1,?,?,?)"
    db.execute(query, (*watched.seen, watched.doubt))


_END_NOW = (
    "UPDATE runs SET ended_ms=:now WHERE id IN (SELECT id FROM runs INDEXED BY"
    f" runs_ended WHERE {runs.ENDED} AND ended_ms>:now LIMIT :limit)"
)


def bring_back(db: Connection, now: int, limit: int) -> int:
    """Date a batch of what is dated in the future at `now` (ms); return how many rows.

    Retention would not come to it for as long as the clock was ahead, and nobody would
    be reminded of what fails.
    """
    batch = {"now": now, "limit": limit}
    ended = db.execute(_END_NOW, batch).rowcount
    received = db.execute(
        "UPDATE deliveries SET received_ms=:now WHERE id IN (SELECT id FROM deliveries"
        " WHERE received_ms>:now ORDER BY id DESC LIMIT :limit)",
        batch,
    ).rowcount
    made = db.execute(
        "UPDATE notices SET created_ms=:now WHERE number IN (SELECT number FROM notices"
        " WHERE created_ms>:now LIMIT :limit)",
        batch,
    ).rowcount
    failing = db.execute(
        "UPDATE failing SET since_ms=min(since_ms,:now),looked_ms=min(looked_ms,:now)"
        " WHERE since_ms>:now OR looked_ms>:now",
        batch,
    ).rowcount
    return ended + received + made + failing
