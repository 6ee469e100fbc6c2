"""How many runs each host gets at a time: a decision on values.

A host whose last run hung, or could not reach it, gets one run at a time until one is
answered; all such hosts together get half of the workers, and a run of another host
goes between two of theirs. So a task of a healthy host waits for one run at most.
"""

from collections import Counter
from collections.abc import Collection, Iterable
from typing import NamedTuple

WORKERS = 8


class Shares(NamedTuple):
    """How many runs each host may have at a time; hosts are named by `git.url.origin`.

    `unreached` are those that did not answer last; with `others_first` a run of any
    other host is preferred to one of theirs.
    """

    workers: int = WORKERS
    per_host: int = WORKERS
    unreached: frozenset[str] = frozenset()
    others_first: bool = False

    @property
    def limit(self) -> bool:
        """Tell whether there is anything to limit."""
        return bool(self.unreached) or self.per_host < self.workers

    def full(self, running: Iterable[Collection[str]]) -> frozenset[str]:
        """Return the hosts that get no further run; `running` names those of each."""
        hosts = [set(each) for each in running]
        counts = Counter(host for each in hosts for host in each)
        full = {host for host, count in counts.items() if count >= self._most(host)}
        waiting = sum(not self.unreached.isdisjoint(each) for each in hosts)
        if waiting >= max(1, self.workers // 2):
            full |= self.unreached
        return frozenset(full)

    def reason(self, host: str) -> str:
        """Return why a host that is full gets no further run."""
        if host in self.unreached:
            return f"{host}, which did not answer last: its runs go one by one"
        return f"{host}, which has its share of runs (sync.per_host)"

    def _most(self, host: str) -> int:
        return 1 if host in self.unreached else self.per_host
