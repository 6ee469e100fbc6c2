"""Sends what the outbox holds: one message at a time a target, targets side by side.

A run never waits for this. What was on its way when the process died is sent again with
the same key: at least once. What became of a message that was sent is offered to the
store until the store takes it; until then its target gets nothing more.
"""

import logging
import random
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass, field, replace
from functools import partial
from pathlib import Path

from gms_hookd.errors import ClientError, Conflict, NotFound
from gms_hookd.futures import Future, apply, done, failed
from gms_hookd.http import smtp
from gms_hookd.http.client import Wire, exchange
from gms_hookd.log import SELDOM
from gms_hookd.notify import dockerhub, mail, texts
from gms_hookd.notify.base import Fate, Notice, SendResult, Target, VendorAnswer
from gms_hookd.notify.policy import Subscriber
from gms_hookd.notify.registry import EMAIL, KINDS
from gms_hookd.safetext import quoted
from gms_hookd.safetext.addresses import address_secrets
from gms_hookd.store import StoreError, notices
from gms_hookd.store.notices import Lot, NoticeRow
from gms_hookd.threads import Pool, Supervised
from gms_hookd.units import rfc3339
from gms_hookd.workers.messages import NoticeStyle, Shown, message, of_condition
from gms_hookd.workers.retry import FIRST, backoff
from gms_hookd.workers.running import Context, TestResult

log = logging.getLogger(__name__)
TICK = 1.0
DEADLINE = 15.0  # seconds for one message, however slowly the peer drips
WITHIN = 120.0  # seconds that a send may take with a name server that is silent
LEAST, MOST = 4, 64  # threads: one for each target, so that none waits for another
REMIND = 60.0  # seconds between looks for reminders
HELD = 300.0  # seconds at most that one message which failed holds up the others
OUTAGE = 3  # failures in a row after which a success means that a target is back
GIVE_UP = 5 * 86400.0  # seconds from the event on
TRIES = 10  # at least before that, about three hours: the clock may have jumped
SINGLE, DIGEST = 10.0, 600.0  # seconds after a message to people, and after a digest
# They are read by programs, which want each notice as it is.
MACHINES = frozenset({"webhook", "dockerhub"})


@dataclass(frozen=True, slots=True)
class Recipient:
    """A target as it is configured: what it hears, and how it is reached."""

    target: Target
    subscriber: Subscriber
    language: str = "en"
    fallback: str | None = None
    proxy: str = ""
    ca_file: Path | None = None
    insecure: bool = False

    def at(self, url: str) -> "Recipient":
        """Return it with another address."""
        return replace(self, target=replace(self.target, url=url))


@dataclass(eq=False, repr=False)
class Notifier:
    """One thread that looks what is due, and a pool that sends it."""

    context: Callable[[], Context]
    recipients: Callable[[], Mapping[str, Recipient]]
    pool: Pool
    shown: Shown
    stopping: threading.Event
    _: KW_ONLY
    pages: Callable[[], str] = str
    chance: Callable[[], float] = random.random
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)
    _busy: set[str] = field(default_factory=set, init=False)
    _free_at: dict[str, float] = field(default_factory=dict, init=False)
    _unwritten: dict[str, tuple[Lot, SendResult]] = field(
        default_factory=dict, init=False
    )
    _failures: dict[str, int] = field(default_factory=dict, init=False)
    _wake: threading.Event = field(default_factory=threading.Event, init=False)
    _next_look: float = field(default=0.0, init=False)

    def run_forever(self, thread: Supervised) -> None:
        """Send until the daemon stops."""
        while not self.stopping.is_set():
            self._wake.wait(self._patience())
            self._wake.clear()
            thread.beat()
            try:
                self.turn()
            except StoreError as error:
                log.warning("notices wait error=%s", quoted(error), extra=SELDOM)

    def end(self) -> None:
        """Wake the thread, when the daemon stops."""
        self._wake.set()

    def turn(self) -> None:
        """Begin to send to each target for which something is due."""
        self._remind()
        self.pool.grow(min(len(self.recipients()), MOST))
        store, now = self.context().store, self.context().now()
        for name in store.read(notices.due, now).result():
            recipient = self.recipients().get(name)
            if recipient is None:
                self._drop(name)
            elif self._claimed(name):
                sending = self.pool.do(partial(self._send_next, recipient))
                sending.add_done_callback(partial(self._release, name))

    def _drop(self, name: str) -> None:
        """Drop what waits for a target that is no longer configured."""
        kind, _, hook = name.partition(":")
        is_hook = kind == dockerhub.NAME and hook
        setting = f"hooks.{hook}.callback" if is_hook else f"[notify.{name}]"
        why = f"no {setting} is configured"
        count = self.context().store.write(notices.drop_all, name, why).result()
        self.context().counters.notices.add(name, "dropped", amount=count)

    def _patience(self) -> float:
        """Return how long to wait: until a target may be sent to again, 1 s at most."""
        now = self.context().monotonic()
        with self._lock:
            left = [at - now for at in self._free_at.values() if at > now]
        return min([TICK, *left])

    def _remind(self) -> None:
        moment = self.context().monotonic()
        if moment < self._next_look:
            return
        self._next_look = moment + REMIND
        listening = tuple(r.subscriber for r in self.recipients().values())
        store, now = self.context().store, self.context().now()
        if listening and store.read(notices.reminders_due, listening, now).result():
            store.write(notices.remind, listening, now).result()

    def _claimed(self, name: str) -> bool:
        with self._lock:
            early = self._free_at.get(name, 0.0) > self.context().monotonic()
            if early or name in self._busy:
                return False
            self._busy.add(name)
            return True

    def _release(self, name: str, sending: Future[None]) -> None:
        error = sending.exception()
        if error:
            log.error("notice broke target=%s error=%s", name, quoted(error))
            self._hold(name, FIRST)
        with self._lock:
            self._busy.discard(name)
        self._wake.set()

    def _hold(self, name: str, seconds: float) -> None:
        with self._lock:
            self._free_at[name] = self.context().monotonic() + seconds

    def _send_next(self, recipient: Recipient) -> None:
        name = recipient.target.name
        if name not in self._unwritten:
            lot = self._take(recipient)
            if lot is None:
                return
            self._unwritten[name] = lot, self._send(recipient, lot)
        self._settle(recipient, *self._unwritten[name])
        del self._unwritten[name]

    def _take(self, recipient: Recipient) -> Lot | None:
        name, now = recipient.target.name, self.context().now()
        together = recipient.target.kind not in MACHINES
        store = self.context().store
        return store.write(notices.take, name, now, together=together).result()

    def _send(self, recipient: Recipient, lot: Lot) -> SendResult:
        """Send one message; return what became of it, in words without secrets."""
        url, mask = lot.rows[0].url, self.context().mask
        if url:
            recipient = recipient.at(url)
            mask = mask.plus(address_secrets(url))
        style = NoticeStyle(recipient.language, mask, self.shown, self.pages())

        def written() -> Notice:
            return self.context().store.read(message, lot, style).result()

        verdict = self._deliver(recipient, written)
        reason, note = mask(verdict.reason)[:300], mask(verdict.note)[:300]
        return replace(verdict, reason=reason, note=note)

    def _deliver(
        self, recipient: Recipient, written: Callable[[], Notice]
    ) -> SendResult:
        """Send what is written; return what became of it. Raises StoreError."""
        try:
            notice = written()
            if recipient.target.kind == EMAIL:
                return self._mailed(recipient, notice)
            return self._posted(recipient, notice)
        except smtp.RefusedError as error:
            return SendResult(Fate.NEVER, str(error))
        except ClientError as error:
            return SendResult(Fate.AGAIN, str(error))
        except StoreError:
            raise
        except Exception:
            # A defect of ours must not keep the others from being told.
            log.exception("notice broke target=%s", recipient.target.name)
            return SendResult(Fate.AGAIN, "internal error: see the log of the daemon")

    def _posted(self, recipient: Recipient, notice: Notice) -> SendResult:
        kind = KINDS[recipient.target.kind]
        request = kind.render(notice, recipient.target, self.context().clock())
        wire = Wire(DEADLINE, recipient.ca_file, recipient.proxy)
        reply = exchange(
            request.method, request.url, request.body, request.headers, wire
        )
        verdict = kind.judge(VendorAnswer(reply.status, reply.body, reply.headers))
        if verdict.fate is not Fate.SENT or verdict.reason:
            return verdict
        answer = VendorAnswer(reply.status, reply.body).text
        return SendResult(Fate.SENT, f"status {reply.status}: {answer}".rstrip(": "))

    def _mailed(self, recipient: Recipient, notice: Notice) -> SendResult:
        target, ca_file = recipient.target, recipient.ca_file
        password, insecure = next(iter(target.secrets), ""), recipient.insecure
        server = smtp.MailServer.of(
            target.url, password, insecure=insecure, ca_file=ca_file
        )
        done = smtp.deliver(mail.compose(notice, target), server, DEADLINE)
        return SendResult(Fate.SENT, done.said, note=done.refused)

    def _settle(self, recipient: Recipient, lot: Lot, verdict: SendResult) -> None:
        """Have the store know what became of a message. Raises StoreError."""
        if verdict.fate is Fate.SENT:
            self._settle_sent(recipient, lot, verdict.note)
        elif verdict.fate is Fate.NEVER or self._is_hopeless(lot.rows[0]):
            self._settle_dead(recipient, lot, verdict.reason)
        else:
            self._settle_failed(recipient, lot, verdict)

    def _is_hopeless(self, row: NoticeRow) -> bool:
        """Return whether a message was tried often and for long enough."""
        too_old = self.context().now() - row.created_at > GIVE_UP * 1000
        return too_old and row.attempts + 1 >= TRIES

    def _settle_sent(self, recipient: Recipient, lot: Lot, note: str) -> None:
        name = recipient.target.name
        store, now = self.context().store, self.context().now()
        store.write(notices.sent, lot, now, note).result()
        if self._failures.pop(name, 0) >= OUTAGE:  # what else it missed waits no more
            store.write(notices.hasten, name, now).result()
        self._hold(name, _pause(recipient.target.kind, lot))
        self._count(name, "sent", lot)
        self.context().counters.notices.add(name, "dropped", amount=lot.lost)
        level = logging.WARNING if note else logging.INFO
        text = "notice sent target=%s id=%s event=%s count=%d error=%s"
        log.log(level, text, name, *_shown(lot), quoted(note or "-"))

    def _settle_dead(self, recipient: Recipient, lot: Lot, why: str) -> None:
        name = recipient.target.name
        store, now = self.context().store, self.context().now()
        store.write(notices.bury, lot, now, why, recipient.fallback).result()
        self._hold(name, _pace(recipient.target.kind))
        self._count(name, "dead", lot)
        text = "notice dead target=%s id=%s event=%s count=%d error=%s"
        log.error(text, name, *_shown(lot), quoted(why))

    def _settle_failed(
        self, recipient: Recipient, lot: Lot, verdict: SendResult
    ) -> None:
        name, why = recipient.target.name, verdict.reason
        delay = backoff(lot.rows[0].attempts, self.chance(), verdict.after)
        store, now = self.context().store, self.context().now()
        store.write(notices.later, lot, now, int(delay * 1000), why).result()
        self._failures[name] = self._failures.get(name, 0) + 1
        self._hold(name, min(delay, HELD))
        self._count(name, "failed", lot)
        next_try = rfc3339(now + int(delay * 1000))
        text = "notice failed target=%s id=%s event=%s count=%d next_try=%s error=%s"
        log.warning(text, name, *_shown(lot), next_try, quoted(why))

    def _count(self, name: str, result: str, lot: Lot) -> None:
        self.context().counters.notices.add(name, result, amount=len(lot.rows))

    def tell_now(self, row: NoticeRow) -> Future[SendResult]:
        """Send a notice that needs no store, and that no store may know of."""
        recipient = self.recipients().get(row.target)
        if recipient is None:
            return done(SendResult(Fate.NEVER, "no such target"))
        mask, pages = self.context().mask, self.pages()
        style = NoticeStyle(recipient.language, mask, self.shown, pages)
        written = partial(of_condition, row, style)
        sending = self.pool.do(partial(self._deliver, recipient, written))
        return apply(sending, partial(self._tell_now_done, row))

    def _tell_now_done(self, row: NoticeRow, verdict: SendResult) -> SendResult:
        level = logging.INFO if verdict.fate is Fate.SENT else logging.WARNING
        text = "notice without store target=%s id=%s event=%s result=%s error=%s"
        why = "-" if verdict.fate is Fate.SENT else self.context().mask(verdict.reason)
        shown = row.target, row.key, row.event, verdict.fate.value, quoted(why)
        log.log(level, text, *shown)
        return verdict

    def test(self, name: str) -> Future[TestResult]:
        """Send a message that tries a target out; NotFound if there is none."""
        recipient = self.recipients().get(name)
        if recipient is None:
            known = ", ".join(self.recipients()) or "none is configured"
            return failed(NotFound(f"no target {name!r} in the configuration: {known}"))
        if recipient.target.kind == dockerhub.NAME:
            return failed(Conflict(f"{name}: each delivery has an address of its own"))
        now = self.context().now()
        notice = Notice(
            key=f"test_{now}",
            event="test",
            timestamp=rfc3339(now),
            title=texts.test(socket.gethostname(), recipient.language),
            level=texts.level("test"),
            data={"task": None, "run": None, "failures": 0, "failing_since": None},
        )
        sending = self.pool.do(partial(self._deliver, recipient, lambda: notice))
        return apply(sending, self._test_result)

    def _test_result(self, verdict: SendResult) -> TestResult:
        said = self.context().mask(verdict.reason)[:300]
        return TestResult(verdict.fate is Fate.SENT, said)


def _shown(lot: Lot) -> tuple[str, str, int]:
    return lot.key, lot.rows[0].event, len(lot.rows)


def _pace(kind: str) -> float:
    return mail.PACE if kind == EMAIL else KINDS[kind].PACE


def _pause(kind: str, lot: Lot) -> float:
    """Return how long a target has peace: what comes meanwhile is one message."""
    if kind in MACHINES:
        return _pace(kind)
    return DIGEST if len(lot.rows) > 1 else max(SINGLE, _pace(kind))
