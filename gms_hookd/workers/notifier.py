"""Sends what the outbox holds: one message at a time a target, targets side by side.

A run never waits for this. What was on its way when the process died is sent again with
the same key: at least once.
"""

import logging
import random
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from gms_hookd.errors import NotFound
from gms_hookd.futures import Future, apply, failed
from gms_hookd.http import smtp
from gms_hookd.http.client import ClientError, Wire, exchange
from gms_hookd.model import Run, Task
from gms_hookd.notify import mail, texts
from gms_hookd.notify.base import Fate, Notice, SendResult, Target, VendorAnswer
from gms_hookd.notify.policy import Subscriber
from gms_hookd.notify.registry import EMAIL, KINDS
from gms_hookd.payload import dump_json, load_json
from gms_hookd.safetext import quoted
from gms_hookd.store import Connection, StoreError, notices, runs, tasks
from gms_hookd.store.notices import Lot, NoticeRow
from gms_hookd.threads import Pool, Supervised
from gms_hookd.units import rfc3339
from gms_hookd.workers.running import Context, Told

log = logging.getLogger(__name__)
TICK = 1.0
DEADLINE = 15.0  # seconds for one message, however slowly the peer drips
WITHIN = 120.0  # seconds that a send may take with a name server that is silent
AT_ONCE = 4  # targets
REMIND = 60.0  # seconds between looks for reminders
FIRST, CAP = 10.0, 12 * 3600.0  # seconds between tries
HELD = 300.0  # seconds at most that one message which failed holds up the others
GIVE_UP = 5 * 86400.0  # seconds from the event on
SINGLE, DIGEST = 10.0, 600.0  # seconds after a message to people, and after a digest
LONGEST = 4000  # characters of a reason
# They are read by programs, which want each notice as it is.
MACHINES = frozenset({"webhook", "dockerhub"})
Shown = Callable[[Run | None, Task | None], Mapping[str, Any]]


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


def backoff(attempts: int, chance: float, asked: float | None) -> float:
    """Return the seconds until the next try, no shorter than what was asked for."""
    whole = min(CAP, FIRST * 2.0 ** min(attempts, 30))
    return max(whole / 2 + whole / 2 * chance, FIRST, asked or 0.0)


class Notifier:
    """One thread that looks what is due, and a pool that sends it."""

    def __init__(
        self,
        context: Callable[[], Context],
        recipients: Callable[[], Mapping[str, Recipient]],
        pool: Pool,
        shown: Shown,
        stopping: threading.Event,
        *,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._get_context = context
        self._recipients = recipients
        self._pool = pool
        self._shown = shown
        self._stopping = stopping
        self._chance = chance
        self._lock = threading.Lock()
        self._busy: set[str] = set()
        self._free_at: dict[str, float] = {}
        self._wake = threading.Event()
        self._next_look = 0.0

    @property
    def _context(self) -> Context:
        return self._get_context()

    def run_forever(self, thread: Supervised) -> None:
        """Send until the daemon stops."""
        while not self._stopping.is_set():
            self._wake.wait(self._patience())
            self._wake.clear()
            thread.beat()
            try:
                self.turn()
            except StoreError as error:
                log.warning("notices wait error=%s", quoted(error))

    def turn(self) -> None:
        """Begin to send to each target for which something is due."""
        self._remind()
        store, now = self._context.store, self._context.now()
        for name in store.read(notices.due, now).result():
            recipient = self._recipients().get(name)
            if recipient is None:
                why = f"no [notify.{name}] is configured"
                store.write(notices.drop_all, name, why).result()
            elif self._claimed(name):
                sending = self._pool.do(partial(self._send_next, recipient))
                sending.add_done_callback(partial(self._release, name))

    def _patience(self) -> float:
        """Return how long to wait: until a target may be sent to again, 1 s at most."""
        now = self._context.monotonic()
        with self._lock:
            left = [at - now for at in self._free_at.values() if at > now]
        return min([TICK, *left])

    def _remind(self) -> None:
        moment = self._context.monotonic()
        if moment < self._next_look:
            return
        self._next_look = moment + REMIND
        listening = tuple(r.subscriber for r in self._recipients().values())
        store, now = self._context.store, self._context.now()
        if listening and store.read(notices.reminders_due, listening, now).result():
            store.write(notices.remind, listening, now).result()

    def _claimed(self, name: str) -> bool:
        with self._lock:
            early = self._free_at.get(name, 0.0) > self._context.monotonic()
            if early or name in self._busy:
                return False
            self._busy.add(name)
            return True

    def _release(self, name: str, sending: Future[None]) -> None:
        with self._lock:
            self._busy.discard(name)
        self._wake.set()
        if error := sending.exception():
            log.error("notice broke target=%s error=%s", name, quoted(error))
            self._hold(name, FIRST)

    def _hold(self, name: str, seconds: float) -> None:
        with self._lock:
            self._free_at[name] = self._context.monotonic() + seconds

    def _send_next(self, recipient: Recipient) -> None:
        name, store = recipient.target.name, self._context.store
        together = recipient.target.kind not in MACHINES
        taken = store.write(notices.take, name, self._context.now(), together=together)
        lot = taken.result()
        if lot is None:
            return
        told = store.read(self._notice, recipient, lot).result()
        self._settle(recipient, lot, self._deliver(recipient, told))

    def _deliver(self, recipient: Recipient, notice: Notice) -> SendResult:
        """Send one message; return what became of it."""
        try:
            if recipient.target.kind == EMAIL:
                return self._mailed(recipient, notice)
            return self._posted(recipient, notice)
        except smtp.RefusedError as error:
            return SendResult(Fate.NEVER, str(error))
        except ClientError as error:
            return SendResult(Fate.AGAIN, str(error))
        except Exception:
            # A defect of ours must not keep the others from being told.
            log.exception("notice broke target=%s", recipient.target.name)
            return SendResult(Fate.AGAIN, "internal error: see the log of the daemon")

    def _posted(self, recipient: Recipient, notice: Notice) -> SendResult:
        kind = KINDS[recipient.target.kind]
        request = kind.render(notice, recipient.target, self._context.clock())
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
        message = mail.compose(notice, recipient.target)
        parts = urlsplit(recipient.target.url)
        implicit = parts.scheme == "smtps"
        server = smtp.MailServer(
            parts.hostname or "",
            parts.port or (465 if implicit else 587),
            implicit=implicit,
            insecure=recipient.insecure,
            username=unquote(parts.username or ""),
            password=next(iter(recipient.target.secrets), ""),
            ca_file=recipient.ca_file,
        )
        return SendResult(Fate.SENT, smtp.deliver(message, server, DEADLINE))

    def _settle(self, recipient: Recipient, lot: Lot, verdict: SendResult) -> None:
        name, kind = recipient.target.name, recipient.target.kind
        store, now = self._context.store, self._context.now()
        why = self._context.mask(verdict.reason)[:300]
        first = lot.rows[0]
        shown = (name, lot.key, first.event, len(lot.rows))
        count = self._context.counters.notices.add
        if verdict.fate is Fate.SENT:
            self._hold(name, _pause(kind, lot))
            store.write(notices.sent, lot, now).result()
            count(name, "sent")
            log.info(
                "notice sent target=%s id=%s event=%s count=%d",
                name,
                lot.key,
                first.event,
                len(lot.rows),
            )
            return
        delay = backoff(first.attempts, self._chance(), verdict.after)
        too_old = now - first.created_at > GIVE_UP * 1000
        if verdict.fate is Fate.NEVER or too_old:
            self._hold(name, _pace(kind))
            bury = (lot, now, why, recipient.fallback)
            store.write(notices.bury, *bury).result()
            count(name, "dead")
            text = "notice dead target=%s id=%s event=%s count=%d error=%s"
            log.error(text, *shown, quoted(why))
            return
        self._hold(name, min(delay, HELD))
        store.write(notices.later, lot, now, int(delay * 1000), why).result()
        count(name, "failed")
        text = "notice failed target=%s id=%s event=%s count=%d next_try=%s error=%s"
        log.warning(text, *shown, rfc3339(now + int(delay * 1000)), quoted(why))

    def test(self, name: str) -> Future[Told]:
        """Send a message that tries a target out; NotFound if there is none."""
        recipient = self._recipients().get(name)
        if recipient is None:
            known = ", ".join(self._recipients()) or "none is configured"
            return failed(NotFound(f"no target {name!r} in the configuration: {known}"))
        now = self._context.now()
        notice = Notice(
            key=f"test_{now}",
            event="test",
            timestamp=rfc3339(now),
            title=texts.test(socket.gethostname(), recipient.language),
            level=texts.level("test"),
            data={"task": None, "run": None, "failures": 0, "failing_since": None},
        )
        sending = self._pool.do(partial(self._deliver, recipient, notice))
        return apply(sending, self._told)

    def _told(self, verdict: SendResult) -> Told:
        said = self._context.mask(verdict.reason)[:300]
        return Told(verdict.fate is Fate.SENT, said)

    # --- from rows to what is said

    def _notice(self, db: Connection, recipient: Recipient, lot: Lot) -> Notice:
        each = [self._event(db, row) for row in lot.rows]
        language = recipient.language
        if len(each) > 1:
            title, reason, level = texts.digest(each, language)
            facts: tuple[tuple[str, str], ...] = ()
        else:
            title, reason = texts.title(each[0], language), each[0].reason
            level = texts.level(each[0].event)
            facts = self._facts(db, lot.rows[0], language)
        first = lot.rows[0]
        lines = [reason]
        if first.came_from:
            lines.insert(0, texts.not_delivered(first.came_from, language))
        if lot.lost:
            lines.append(texts.lost(lot.lost, language))
        mask = self._context.mask
        return Notice(
            key=lot.key,
            event=first.event,
            timestamp=rfc3339(first.created_at),
            title=mask(title),
            reason=mask("\n".join(filter(None, lines)))[:LONGEST],
            facts=tuple((label, mask(value)) for label, value in facts),
            level=level,
            data=self._data(db, first),
        )

    def _event(self, db: Connection, row: NoticeRow) -> texts.Told:
        run = _run(db, row)
        failed = run is not None and run.error_message and row.event != "recovered"
        reason = run.error_message if run and failed else row.said or ""
        return texts.Told(
            row.event,
            row.task_name,
            row.failures,
            (row.created_at - row.since) / 1000 if row.since is not None else 0.0,
            row.reminder,
            reason,
        )

    def _facts(
        self, db: Connection, row: NoticeRow, language: str
    ) -> tuple[tuple[str, str], ...]:
        run, task = _run(db, row), _task(db, row)
        found: list[tuple[str, str]] = []
        if run is not None:
            found += [("run", str(run.id)), ("trigger", run.trigger)]
            found += [("changes", run.commit_range)] if run.commit_range else []
        if task is not None:
            found.append(("way", f"{task.source} -> {task.target}"))
        if row.since is not None and row.event != "changed":
            found.append(("since", rfc3339(row.since)))
        return tuple((texts.label(word, language), value) for word, value in found)

    def _data(self, db: Connection, row: NoticeRow) -> dict[str, object]:
        since = None if row.since is None else rfc3339(row.since)
        shown = self._shown(_run(db, row), _task(db, row))
        safe = load_json(self._context.mask.answer(dump_json(shown)))
        return {**safe, "failures": row.failures, "failing_since": since}


def _run(db: Connection, row: NoticeRow) -> Run | None:
    """Return the run that a notice is about, unless it is no longer kept."""
    try:
        return None if row.run_id is None else runs.get(db, row.run_id)
    except NotFound:
        return None


def _task(db: Connection, row: NoticeRow) -> Task | None:
    try:
        return None if row.task_id is None else tasks.get(db, row.task_id)
    except NotFound:
        return None


def _pace(kind: str) -> float:
    return mail.PACE if kind == EMAIL else KINDS[kind].PACE


def _pause(kind: str, lot: Lot) -> float:
    """Return how long a target has peace: what comes meanwhile is one message."""
    if kind in MACHINES:
        return _pace(kind)
    return DIGEST if len(lot.rows) > 1 else max(SINGLE, _pace(kind))
