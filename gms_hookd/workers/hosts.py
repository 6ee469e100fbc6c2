"""Which hosts answered last; what follows for their runs, `store.shares` says."""

import threading
from collections.abc import Iterable, Mapping

from gms_hookd.store.shares import Shares


class Hosts:
    """Whether each host answered its last run; for any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._shares = Shares()

    def share(self, workers: int, per_host: int | None) -> None:
        """Set how many workers there are, and how many of them one host gets."""
        with self._lock:
            most = workers if per_host is None else per_host
            self._shares = self._shares._replace(workers=workers, per_host=most)

    def note(self, answered: Mapping[str, bool]) -> None:
        """Note of each host that a run talked to whether it answered."""
        good = {host for host, did in answered.items() if did}
        with self._lock:
            unreached = (self._shares.unreached | answered.keys()) - good
            self._shares = self._shares._replace(unreached=unreached)

    def claimed(self, hosts: Iterable[str]) -> None:
        """Note that a run of these hosts begins."""
        with self._lock:
            after = not self._shares.unreached.isdisjoint(hosts)
            self._shares = self._shares._replace(others_first=after)

    @property
    def shares(self) -> Shares:
        """What holds now."""
        return self._shares
