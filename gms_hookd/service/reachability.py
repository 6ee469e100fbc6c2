"""Whether the hosts of the tasks answer, asked as a run would ask them."""

import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import partial

from gms_hookd.futures import Future
from gms_hookd.git.url import origin
from gms_hookd.sync.engine import Engine
from gms_hookd.sync.job import Unreadable
from gms_hookd.threads import BusyError, Pool, ThreadError

WITHIN = 10.0  # seconds that all of them have together
MOST = 32  # repositories; each costs a git


def reach(
    repositories: Iterable[str], engine: Engine, pool: Pool
) -> Mapping[str, Unreadable | None]:
    """Return why each repository cannot be read, None if it can; so many of them.

    Each is asked by a thread of the pool that is its own, so that none waits for one
    that does not answer.
    """
    until, wanted = time.monotonic() + WITHIN, chosen(repositories, MOST)
    with suppress(ThreadError):  # then as many as there are have to do
        pool.grow(len(wanted))
    begun: set[str] = set()

    def ask(repository: str) -> Unreadable | None:
        begun.add(repository)
        return engine.reach(repository, WITHIN)

    asked = {each: pool.do(partial(ask, each)) for each in wanted}
    found = {each: _answer(reason, until) for each, reason in asked.items()}
    return {each: _true(why, each in begun) for each, why in found.items()}


def chosen(repositories: Iterable[str], most: int) -> list[str]:
    """Return so many of them at most, of each host one before any host has two."""
    ranked: list[tuple[int, str]] = []
    seen: dict[str, int] = {}
    for each in dict.fromkeys(repositories):
        host = origin(each)
        seen[host] = seen.get(host, 0) + 1
        ranked.append((seen[host], each))
    return [each for _, each in sorted(ranked, key=lambda pair: pair[0])][:most]


def _true(why: Unreadable | None, asked: bool) -> Unreadable | None:
    """Return what is so of a host that nobody has asked yet."""
    if asked or why is None:
        return why
    return why._replace(error="was not asked: too many others do not answer")


def _answer(reason: Future[Unreadable | None], until: float) -> Unreadable | None:
    try:
        return reason.result(max(until - time.monotonic(), 0.0))
    except TimeoutError:
        return Unreadable(f"no answer within {WITHIN:g} s")
    except BusyError as error:
        return Unreadable(str(error))
