"""Refused requests: one row and one line a second for each address, with a count.

To record each, and to sync that to the disk, would cost us more than it costs somebody
to be refused. The first of its kind is recorded at once, the others of the same second
together at its end.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

from gms_hookd.auth.ratelimit import block
from gms_hookd.log import event
from gms_hookd.safetext import quoted, reason
from gms_hookd.store import deliveries
from gms_hookd.store.deliveries import NewDelivery
from gms_hookd.store.store import Store

log = logging.getLogger(__name__)

SPAN = 1.0  # seconds that are counted together
AT_ONCE = 20  # kinds of which the first is recorded at once, in one span
KINDS = 200  # counted apart in one span; those beyond as of one client
OTHERS = "others"
UNDER_LOAD = 2_000  # writes that wait; refused deliveries are not recorded beyond


class Refusal(NamedTuple):
    """One refused request; `kept`: it is a delivery, of which there is a row."""

    new_delivery: NewDelivery
    status: int
    reason: str
    request_id: str = "-"
    kept: bool = True


_Kind = tuple[str, str, int, str]


class Refusals:
    """What was refused lately; any thread may note and flush."""

    def __init__(
        self, store: Store, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._store = store
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._recorded: set[_Kind] = set()
        self._waiting: dict[_Kind, tuple[Refusal, int]] = {}
        self._span_ends = 0.0

    def note(self, refusal: Refusal) -> None:
        """Record a refusal now, or with others of its kind at the end of the span."""
        self.flush()
        new_delivery, status, reason = refusal[:3]
        kind = (new_delivery.hook, block(new_delivery.client), status, reason)
        with self._lock:
            first = kind not in self._recorded and len(self._recorded) < AT_ONCE
            if first:
                self._recorded.add(kind)
            else:
                self._count(kind, refusal)
        if first:
            self._record({kind: (refusal, 1)})

    def _count(self, kind: _Kind, refusal: Refusal) -> None:
        if kind not in self._waiting and len(self._waiting) >= KINDS:
            kind = (kind[0], OTHERS, *kind[2:])
            new_delivery = refusal.new_delivery._replace(client=OTHERS)
            refusal = refusal._replace(new_delivery=new_delivery)
        _, count = self._waiting.get(kind, (refusal, 0))
        self._waiting[kind] = refusal, count + 1

    def flush(self, *, now: bool = False) -> None:
        """Record what was counted, if the span is over, or `now`."""
        with self._lock:
            moment = self._monotonic()
            if moment < self._span_ends and not now:
                return
            counted, self._waiting = self._waiting, {}
            # What goes on in the next span is recorded at its end, not at its start.
            self._recorded = set(counted)
            self._span_ends = moment + SPAN
        if counted:
            self._record(counted)

    def _record(self, counted: Mapping[_Kind, tuple[Refusal, int]]) -> None:
        for refusal, count in counted.values():
            _log(refusal, count)
        entries = [_entry(*each) for each in counted.values() if each[0].kept]
        if entries and self._store.waiting < UNDER_LOAD:
            self._store.write(deliveries.record_all, entries)


def _log(refusal: Refusal, count: int) -> None:
    delivery = refusal.new_delivery
    event(
        log,
        f"refused id={refusal.request_id} hook={quoted(delivery.hook)}"
        f" client={quoted(delivery.client)} status={refusal.status} count={count}"
        f" reason={reason(refusal.reason)}",
    )


def _entry(refusal: Refusal, count: int) -> deliveries.RecordedDelivery:
    reason = refusal.reason if count == 1 else f"{refusal.reason} ({count} in a second)"
    return deliveries.RecordedDelivery(refusal.new_delivery, refusal.status, reason)
