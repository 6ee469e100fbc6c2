"""The daemon: a service with listeners, until a signal ends it.

The main thread waits for signals and feeds the watchdog; all else has threads of its
own (`threads`).
"""

import faulthandler
import gc
import logging
import os
import select
import signal
import sys
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import KW_ONLY, dataclass, field, replace

from gms_hookd.config.load import made_secret, refuse_weak, shared_sockets
from gms_hookd.config.records import Config
from gms_hookd.config.sources import Name
from gms_hookd.errors import ConfigError, Conflict, Unavailable
from gms_hookd.files import closed
from gms_hookd.futures import Future
from gms_hookd.http import tls
from gms_hookd.http.descriptors import lift_limit
from gms_hookd.http.limits import ConnectionLimits
from gms_hookd.http.listener import Listener, adopt, listen
from gms_hookd.http.server import Server
from gms_hookd.log import dropped, redact
from gms_hookd.safetext import quoted, reason
from gms_hookd.service import systemd
from gms_hookd.service.service import Service
from gms_hookd.service.state_dir import StateDirectory
from gms_hookd.threads import Supervised, ThreadError

log = logging.getLogger(__name__)
GRACE = 10.0  # seconds that running syncs get to end by themselves
DRAIN = 5.0  # seconds that answers in flight get
KILL = 15.0  # seconds at most for git to end when it is asked to
TICK = 1.0
PIPE = 65536  # bytes that a pipe holds at most, by default (pipe(7))
ENDINGS = frozenset({signal.SIGTERM, signal.SIGINT})
# What a reload does not change: what of it is in use, and its key.
FIXED: Mapping[str, Callable[[Config], object]] = {
    "server.listen": lambda config: config.server.listen,
    "server.tls_cert": lambda config: config.server.tls_cert is None,
    "sync.workers": lambda config: config.sync.workers,
}
LONGEST_END = 5.0  # seconds that the front gets to end after its last answer


class _Signals:
    """Signals as bytes in a pipe, so that each ends the wait of the main thread.

    What a Python handler notes does not, if the signal came just before the wait began,
    or interrupted another thread.
    """

    def __init__(self) -> None:
        self._out, self._in = os.pipe()
        os.set_blocking(self._in, False)
        self._poll = select.poll()
        self._poll.register(self._out, select.POLLIN)
        self._endings = self._obeyed = 0
        # From now on: it would end a daemon that only begins.
        signal.set_wakeup_fd(self._in, warn_on_full_buffer=False)
        signal.signal(signal.SIGHUP, lambda _number, _frame: None)

    def catch(self) -> None:
        """Catch what ends the daemon, too."""
        for number in ENDINGS:
            signal.signal(number, self._note_ending)

    def _note_ending(self, _number: int, _frame: object) -> None:
        # After a storm of others there may be no room for it in the pipe.
        self._endings += 1

    def next(self, timeout: float) -> int | None:
        """Wait for signals; return SIGTERM, SIGHUP, or None after `timeout` seconds.

        The one that ends goes first; all reloads that were asked for are one.
        """
        came = os.read(self._out, PIPE) if self._poll.poll(timeout * 1000) else b""
        if self._endings or not ENDINGS.isdisjoint(came):
            self._obeyed = max(self._endings, 1)
            return signal.SIGTERM
        return signal.SIGHUP if came else None

    def ignore(self) -> None:
        """Let none that comes too late decide how the process ends."""
        for number in (*ENDINGS, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)

    def pending(self) -> bool:
        """Tell whether another signal to end came."""
        return self._endings > self._obeyed

    def hang_up(self) -> None:
        """Let the main thread see a SIGHUP, whichever thread asks for it."""
        with suppress(BlockingIOError):  # full: one is to be read already
            os.write(self._in, bytes([signal.SIGHUP]))


class ReloadRequests:
    """Who waits for the outcome of a reload; asked in any thread."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._waiting: deque[Future[list[str]]] = deque()

    def ask(self) -> Future[list[str]]:
        """Have the configuration read again.

        The future gives the keys that are changed and need a restart to be in use; it
        raises Conflict with the reason where it is refused.
        """
        asked: Future[list[str]] = Future()
        self._waiting.append(asked)
        self._wake()
        return asked

    def take(self) -> list[Future[list[str]]]:
        """Return who waits now; who asks later waits for the next reload."""
        return [self._waiting.popleft() for _ in range(len(self._waiting))]

    def refuse(self) -> None:
        """Tell who waits that there will be no reload."""
        for asked in self.take():
            asked.set_exception(Unavailable("shutting down"))


@dataclass(eq=False, repr=False)
class Daemon:
    """A service with listeners."""

    service: Service
    server: Server
    listeners: Sequence[Listener]
    load: Callable[[], Config]
    environ: Mapping[str, str]
    _: KW_ONLY
    signals: _Signals
    reloads: ReloadRequests
    _front: Supervised | None = field(default=None, init=False)
    _refused: str = field(default="", init=False)
    _waiting: list[str] = field(default_factory=list, init=False)
    _stuck: list[str] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        self._started = self.service.config

    def run(self) -> int:
        """Serve until SIGTERM or SIGINT; gives the exit status.

        However this thread fails, the process ends: status 1. Raises ThreadError.
        """
        ended = False
        try:
            self._begin()
            ended = self._until_signal()
        except ThreadError:
            raise
        except BaseException:
            # The root of the main thread: without it nobody could end the rest.
            log.exception("main thread failed, the daemon ends")
        self._end()
        return 0 if ended else 1

    def _begin(self) -> None:
        self.signals.catch()
        _spare_collector()
        threads = self.service.threads
        self._front = threads.start("front", self.server.run_forever)
        self.service.health.listeners = self.listeners
        self.service.start(self.service.config.sync.workers)
        self._note(since=self.service.context.now())
        self._tell("READY=1", self._status())
        log.info("serving listeners=%s", ",".join(each.name for each in self.listeners))

    def _until_signal(self) -> bool:
        """Wait for the signal to end, True; False where the front has ended."""
        seconds = systemd.watchdog_seconds(self.environ, os.getpid())
        tick = min(TICK, seconds / 3) if seconds else TICK
        while self._front and self._front.is_alive():
            number = self.signals.next(tick)
            if number not in (None, signal.SIGHUP):
                return True
            self._try_turn(reload=number is not None)
        return False

    def _try_turn(self, *, reload: bool) -> None:
        try:
            self._turn(reload=reload)
        except Exception:
            # Not fed for long, the watchdog ends what cannot go on.
            log.exception("main thread's turn failed")

    def _turn(self, *, reload: bool) -> None:
        """Feed the watchdog, unless something is stuck that a restart may cure."""
        if reload:
            self._reload()
        stuck = self.service.health.stuck()
        for problem in stuck:
            if problem.partition(":")[0] not in self._stuck:
                log.error("watchdog not fed reason=%s", reason(problem))
        self._stuck = [problem.partition(":")[0] for problem in stuck]
        self._tell(*([] if stuck else ["WATCHDOG=1"]), self._status(*stuck[:1]))

    def _note(self, since: int | None = None) -> None:
        """Let who asks for the status know what only the daemon does."""
        before = self.service.condition
        self.service.condition = replace(
            before,
            since=since or before.since,
            listeners=tuple(each.name for each in self.listeners if not each.control),
            restart_for=tuple(self._waiting),
            refusal=self._refused.removeprefix("; "),
        )

    def _status(self, stuck: str = "") -> str:
        under_way = self.service.running.under_way
        problems = [stuck] if stuck else self.service.health.found
        problem = f"; not ready: {'; '.join(problems)}" if problems else ""
        waiting = ", ".join(self._waiting)
        restart = f"; a restart is needed for {waiting}" if waiting else ""
        unread = f"; {lost} log lines dropped" if (lost := dropped()) else ""
        said = f"{problem}{restart}{unread}{self._refused}"
        return f"STATUS=serving, {under_way} syncs under way{said}"

    def _tell(self, *lines: str) -> None:
        systemd.notify(self.environ, *lines)

    def _reload(self) -> None:
        asked = self.reloads.take()
        self._tell(*systemd.reloading())
        refused = self._read_again()
        self._refused = f"; {refused}" if refused else ""
        self._note()
        # Also after a refusal: the unit would hang in `reloading` (systemd#37515).
        self._tell("READY=1", self._status())
        for each in asked:
            self._answer(each, refused)

    def _answer(self, asked: Future[list[str]], refused: str) -> None:
        if refused:
            asked.set_exception(Conflict(refused))
        else:
            asked.set_result(self._waiting)

    def _read_again(self) -> str:
        """Use the configuration as it is written now; return why not, "" if so."""
        try:
            self._adopt(_with_secret(self.load, self.service.state))
        except (ConfigError, OSError) as error:
            log.error("reload refused error=%s", reason(error))
            return f"reload refused, the old configuration stays: {error}"
        except Exception:
            # A defect of ours: who asked hears of it, and the daemon goes on.
            log.exception("reload failed")
            return "reload failed: see the log"
        log.info("configuration reloaded")
        return ""

    def _adopt(self, config: Config) -> None:
        refuse_weak(config, [each.name for each in self.listeners])
        context = tls_context(config)
        _warn(config, self.listeners)
        self._note_fixed(config)
        self.service.adopt(config)
        redact(self.service.mask.line)
        self.server.limits = limits(config)
        if context:
            self.server.reload_tls(context)

    def _note_fixed(self, config: Config) -> None:
        """Note which changed settings wait for a restart."""
        self._waiting = [
            key for key, used in FIXED.items() if used(config) != used(self._started)
        ]
        for key in self._waiting:
            log.warning("changed, but in use only after a restart key=%s", key)

    def _end(self) -> None:
        self._tell("STOPPING=1", systemd.extend(GRACE + DRAIN + KILL))
        log.info("stopping runs=%d", self.service.running.under_way)
        self.reloads.refuse()
        # What is in flight is still queued, and waits for our successor.
        self.service.running.close()
        self._end_front()
        self.service.stop(GRACE, self.signals.pending)
        self.signals.ignore()
        log.info("stopped")

    def _end_front(self) -> None:
        self.server.drain(DRAIN)
        if self._front:
            self._front.join(LONGEST_END)
        self.server.server_close()


def _warn(config: Config, listeners: Iterable[Listener]) -> None:
    open_to_others = {each.name for each in listeners if not each.control}
    passed = open_to_others - {*config.server.listen}
    for warning in (*config.warnings, *shared_sockets(config, passed)):
        log.warning("configuration warning=%s", reason(warning))


def _spare_collector() -> None:
    # What is loaded stays; to look through it, and through every few requests, for
    # garbage was 6 % of the cost of a trigger.
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)


def limits(config: Config) -> ConnectionLimits:
    """Give what the front must know of the configuration."""
    return ConnectionLimits(body=config.server.max_body)


def tls_context(config: Config) -> tls.Context | None:
    """Read the certificate and key that the configuration names, if it does.

    ConfigError with one line where they cannot be used.
    """
    certificate, key = config.server.tls_cert, config.server.tls_key
    if certificate is None or key is None:
        return None
    for name, path in (("tls_cert", certificate), ("tls_key", key)):
        if not os.access(path, os.R_OK, effective_ids=True):
            why = closed(path) if os.path.exists(path) else "is not there"
            raise ConfigError(f"server.{name}: {path}: {why}")
    try:
        return tls.context(certificate, key)
    except OSError as error:
        raise ConfigError(f"server.tls_cert: {certificate}: {error}") from None


def serve(
    load: Callable[[], Config],
    state: StateDirectory,
    environ: Mapping[str, str],
    written: Callable[[Collection[Name]], Config] | None = None,
) -> int:
    """Serve on the state directory until a signal ends it; gives the exit status.

    `written` loads the configuration without some of its settings.
    ConfigError, StoreError or OSError, each of one line, where the start fails.
    """
    faulthandler.enable(sys.stderr)
    signals = _Signals()
    config = _with_secret(load, state)
    # First, so that a start which this ends leaves the store as it was.
    listeners = bind(config, state, environ)
    with ExitStack() as opened:
        for listener in listeners:
            opened.callback(listener.close)
        refuse_weak(config, [each.name for each in listeners])
        reloads = ReloadRequests(signals.hang_up)
        service = Service.open(config, state, environ, reloads.ask)
        service.written = written
        opened.callback(service.close)
        redact(service.mask.line)
        _warn(config, listeners)
        parts = (service, _front(service, listeners), listeners, load, environ)
        return Daemon(*parts, signals=signals, reloads=reloads).run()


def _front(service: Service, listeners: Sequence[Listener]) -> Server:
    context, allowed = service.context, limits(service.config)
    lift_limit(allowed.connections)
    turn = context.store.turn
    turn.sweep = context.refusals.flush
    threads, exempt = service.threads, service.trusts
    parts = listeners, service.app.handle, allowed
    return Server(*parts, exempt=exempt, batch=turn, threads=threads)


def _with_secret(load: Callable[[], Config], state: StateDirectory) -> Config:
    """Load the configuration; no secret, no service: one is made if none is set."""
    config = load()
    if config.webhook.secrets:
        return config
    made = quoted(made_secret(state.path))
    log.warning("no secret is configured: made one file=%s", made)
    return load()


def bind(
    config: Config, state: StateDirectory, environ: Mapping[str, str]
) -> list[Listener]:
    """Take the sockets that systemd passed, or bind our own; and the control socket.

    ConfigError or OSError of one line, and nothing bound, where one is not possible.
    """
    context = tls_context(config)
    found = [_listen(f"unix:{state.control}", control=True)]
    try:
        passed = systemd.listen_sockets(environ, os.getpid())
        found.extend(adopt(each, tls=context) for _, each in passed)
        own = () if passed else config.server.listen
        found.extend(_listen(spec, tls=context) for spec in own)
    except OSError:
        for listener in found:
            listener.close()
        raise
    return found


def _listen(
    spec: str, *, control: bool = False, tls: tls.Context | None = None
) -> Listener:
    try:
        return listen(spec, control=control, tls=tls)
    except OSError as error:
        why = (error.strerror or str(error)).partition(" (")[0]
        raise OSError(f"cannot listen on {spec}: {why}") from None
