"""The HTTP front: one thread turns sockets into requests and responses into bytes.

Nothing about routes is decided here. One loop holds every connection until a whole
request is there, hands it to the application, and sends the answer when that is done:
at once, or later from another thread. No connection costs a thread, so that a slow
peer costs a little memory until its deadline and nothing else.
"""

import logging
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from http.server import ThreadingHTTPServer
from math import inf
from socketserver import BaseServer
from typing import Protocol

from gms_hookd.http.connection import (
    LARGE,
    READ,
    READING,
    UNWATCHED,
    Connection,
    Origin,
)
from gms_hookd.http.encoder import ResponseEncoder, failure
from gms_hookd.http.limits import ConnectionLimiter, ConnectionLimits
from gms_hookd.http.listener import Acceptor, Listener
from gms_hookd.http.message import Request, Response
from gms_hookd.http.tls import Context
from gms_hookd.http.unfinished import UnfinishedRequests
from gms_hookd.http.wakeup import WakeupQueue
from gms_hookd.threads import SILENT, Pool, Supervised, Threads

Reply = Callable[[Response], None]
Answer = Callable[[Request, Reply], None]
Act = Callable[[], None]
LARGE_BODIES = 1  # thread: they hold the interpreter's lock while they are parsed
HANDSHAKES = 2
LONGEST_END = 5.0  # seconds that a thread of a pool gets to end
SWEEP = 0.25
LOOKS = 100  # which take about a tenth of a millisecond

log = logging.getLogger(__name__)


class Batch(Protocol):
    """What does the work of all requests of one turn together, at its end."""

    def sweep(self) -> None:
        """Ask for what is due now and then, several times a second."""

    def hold(self) -> None:
        """Wait for `release` with what this thread asks for."""

    def release(self) -> None:
        """Do it now, or have it done."""

    def end(self) -> None:
        """Do what nobody waits for: the answers are out."""


class _Nothing:
    def hold(self) -> None:
        pass

    sweep = release = end = hold


class _Beside:
    """Threads for what would take the loop too long."""

    def __init__(self, threads: Threads, *, secured: bool) -> None:
        self.large = Pool(threads, "large-body", LARGE_BODIES)
        self.handshakes = Pool(threads, "handshake", HANDSHAKES if secured else 0)

    def close(self) -> None:
        """Do what waits, and end them."""
        for pool in (self.large, self.handshakes):
            pool.close(LONGEST_END)


@dataclass(slots=True)
class _Queues:
    """Who waits for its turn: over the limits, with a next request, for an answer."""

    late: deque[Connection] = field(default_factory=deque)
    ready: deque[Connection] = field(default_factory=deque)
    asked: list[tuple[Connection, Request]] = field(default_factory=list)


@dataclass(slots=True)
class _Pace:
    """When the loop looks at deadlines, and when it ends; in monotonic seconds."""

    interval: float = SWEEP
    next_sweep: float = -inf
    stop_at: float = inf
    beat: Act = lambda: None
    ended: threading.Event = field(default_factory=threading.Event)
    # The connection of the last turn's request, if it had one only: see `_events`.
    single: Connection | None = None


class Server(ThreadingHTTPServer):
    """The listeners and all their connections, served by the thread that calls us.

    `exempt` says which addresses stand for many peers (proxies), so that the limits per
    address are not theirs.
    """

    daemon_threads = True

    def __init__(
        self,
        listeners: Sequence[Listener],
        answer: Answer,
        limits: ConnectionLimits | None = None,
        *,
        exempt: Callable[[str], bool] | None = None,
        batch: Batch | None = None,
        threads: Threads | None = None,
    ) -> None:
        # Not TCPServer's: the sockets are there, and no name is looked up for them.
        BaseServer.__init__(self, listeners[0].socket.getsockname(), Connection)
        self.socket = listeners[0].socket
        self.limits = limits or ConnectionLimits()
        self.encoder = ResponseEncoder()
        self._answer = answer
        self._batch = batch or _Nothing()
        self._limiter = ConnectionLimiter(self.limits, exempt)
        self._unfinished = UnfinishedRequests(self._limiter)
        secured = any(each.tls for each in listeners)
        self._beside = _Beside(threads or Threads(), secured=secured)
        self._epoll = select.epoll()
        self._acceptor = Acceptor(listeners, self._epoll)
        self._wakeups: WakeupQueue[tuple[Connection, Act]] = WakeupQueue()
        self._connections: dict[int, Connection] = {}
        self._queues = _Queues()
        self._pace = _Pace()
        self.now = time.monotonic()
        self.stopping = False

    def run_forever(self, thread: Supervised) -> None:
        """Serve until `drain`; the thread gives a sign of life at each sweep."""
        self._pace.beat = thread.beat
        self.serve_forever()

    def serve_forever(self, poll_interval: float = SWEEP) -> None:
        """Serve until `drain` or `shutdown` is called from another thread."""
        self._pace.ended.clear()
        self._pace.interval = poll_interval
        try:
            self._epoll.register(self._wakeups, READ)
            self._acceptor.resume()
            while self._serving():
                self._turn()
        finally:
            self._leave()
            self._pace.ended.set()

    def _leave(self) -> None:
        """Close all connections, so that serving could begin again."""
        for connection in list(self._connections.values()):
            connection.finish()
        self._epoll.unregister(self._wakeups)
        self._acceptor.pause()

    def drain(self, seconds: float) -> None:
        """Accept nothing new, answer what is in flight, and end within `seconds`."""
        self._pace.stop_at = time.monotonic() + seconds
        self._wakeups.wake()
        self._pace.ended.wait(seconds + SILENT)

    def shutdown(self) -> None:
        """End now; what is in flight is cut off."""
        self.drain(0.0)

    def server_close(self) -> None:
        """Give back sockets and threads; not while serving."""
        self._acceptor.close()
        self._beside.close()
        self._epoll.close()
        self._wakeups.close()

    def reload_tls(self, context: Context) -> None:
        """Greet new connections with another certificate."""
        self._acceptor.reload_tls(context)

    def ask(self, connection: Connection, request: Request) -> None:
        """Have `request` answered, when the others of this turn are read.

        One step for all of them and then the next is faster than each request through
        all steps: the code of a step stays in the processor's caches.
        """
        self._queues.asked.append((connection, request))

    def _answer_all(self) -> None:
        asked, self._queues.asked = self._queues.asked, []
        self._pace.single = asked[0][0] if len(asked) == 1 else None
        for connection, request in asked:
            reply = partial(self._post, connection, request)
            large = len(request.body) > LARGE
            self._try(self._answer_beside if large else self._answer, request, reply)

    def _answer_beside(self, request: Request, reply: Reply) -> None:
        """Have a pool do it: it takes long enough for everybody else to notice."""
        taken = self._beside.large.do(partial(self._try, self._answer, request, reply))
        if taken.done() and taken.exception():
            reply(failure(503, "too many large requests", (("Retry-After", "10"),)))

    def shake(self, connection: Connection, step: Act) -> None:
        """Have a step of the TLS handshake computed."""
        self._beside.handshakes.do(step).add_done_callback(
            lambda shaken: self._wakeups.post(
                (connection, partial(connection.shaken, shaken))
            )
        )

    def hold(self, connection: Connection, size: int) -> bool:
        """Count an unfinished request as `size` bytes; False if there is no room."""
        return self._unfinished.hold(connection, size)

    def watch(self, connection: Connection, interest: int) -> None:
        """Let the loop call `connection` when its socket is ready for `interest`."""
        if interest == connection.interest:
            return
        if connection.interest == UNWATCHED:
            self._epoll.register(connection.request.fileno(), interest)
        else:
            self._epoll.modify(connection.request.fileno(), interest)
        connection.interest = interest

    def line_up(self, connection: Connection) -> None:
        """Let `connection` take its next request when the others had their turn."""
        self._queues.ready.append(connection)

    def forget(self, connection: Connection) -> None:
        """Take `connection`, which is about to close, out of the books."""
        if connection.interest != UNWATCHED:
            # A fork may hold the socket yet: its events would reach the next owner of
            # the number.
            self._epoll.unregister(connection.request.fileno())
        del self._connections[connection.request.fileno()]
        if connection.held:
            self.hold(connection, 0)
        if connection.late:
            self._queues.late.remove(connection)
        else:
            self._limiter.leave(connection.peer, connection.listener.control)

    def _serving(self) -> bool:
        if self._pace.stop_at == inf:
            return True
        if not self.stopping:
            self._stop_accepting()
        return bool(self._connections) and time.monotonic() < self._pace.stop_at

    def _turn(self) -> None:
        events = self._events()
        self.now = time.monotonic()
        self._wakeups.awake = True
        self._batch.hold()
        try:
            self._work(events)
        finally:
            self._batch.release()
        # What comes from here on wakes us, what came before is delivered now.
        self._wakeups.awake = False
        self._deliver()
        self._batch.end()

    def _events(self) -> list[tuple[int, int]]:
        """Wait for events; after a single request look for the next a moment longer.

        Who sends one after another sends the next at once, and for so short a time it
        costs less to stay awake than to be woken. Nothing comes from who is not
        answered yet, or whose connection was the answer's end; and each look takes the
        interpreter's lock from the threads that have work.
        """
        if self._queues.ready or self._queues.asked:
            return self._epoll.poll(0)
        single, self._pace.single = self._pace.single, None
        for _ in range(LOOKS if single and single.state is READING else 0):
            if events := self._epoll.poll(0):
                return events
        return self._epoll.poll(self._pace.interval)

    def _work(self, events: list[tuple[int, int]]) -> None:
        # Accept last: a new socket may reuse the descriptor number that was closed
        # just before.
        for descriptor in self._stir(events):
            self._take(descriptor)
        self._deliver()
        self._continue()
        if self.now >= self._pace.next_sweep:
            self._sweep()
        self._answer_all()

    def _stir(self, events: list[tuple[int, int]]) -> list[int]:
        """Tell connections what happened; return which descriptors are not theirs."""
        others = []
        for descriptor, event in events:
            connection = self._connections.get(descriptor)
            if connection is None:
                others.append(descriptor)
            else:
                self._guard(connection, connection.stir, event)
        return others

    def _take(self, descriptor: int) -> None:
        if listener := self._acceptor.listener(descriptor):
            for accepted, peer in self._acceptor.accept(listener):
                self._admit(accepted, peer, listener)
        elif descriptor == self._wakeups.fileno():
            self._wakeups.drain_pipe()

    def _guard(
        self, connection: Connection, act: Callable[..., None], *args: int
    ) -> None:
        """Keep a fault of ours in one connection from ending all of them."""
        try:
            act(*args)
        except Exception:
            log.exception("connection failed peer=%s", connection.peer)
            connection.finish()

    def _admit(self, accepted: socket.socket, peer: str, listener: Listener) -> None:
        late = not self._limiter.enter(peer, listener.control)
        connection = Connection(accepted, Origin(peer, listener, late), self)
        self._connections[accepted.fileno()] = connection
        if late:
            self._squeeze_in(connection)
        self._guard(connection, connection.handle)

    def _squeeze_in(self, connection: Connection) -> None:
        """Let a connection over the limits wait a moment, the oldest one no longer."""
        late = self._queues.late
        late.append(connection)
        if len(late) > self._limiter.late:
            oldest = late[0]
            self._guard(oldest, oldest.expire)
            oldest.finish()

    def _deliver(self) -> None:
        while self._wakeups:
            connection, act = self._wakeups.popleft()
            self._guard(connection, act)

    def _continue(self) -> None:
        ready = self._queues.ready
        for _ in range(len(ready)):
            connection = ready.popleft()
            self._guard(connection, connection.go_on)

    def _sweep(self) -> None:
        self._pace.next_sweep = self.now + self._pace.interval
        self._pace.beat()
        self._batch.sweep()
        for connection in list(self._connections.values()):
            self._guard(connection, connection.check)
        if not self.stopping:
            self._acceptor.resume()
        self._limiter.note(self.now)

    def _stop_accepting(self) -> None:
        for listener, waiting in self._acceptor.last():
            for accepted, peer in waiting:
                self._admit(accepted, peer, listener)
        self.stopping = True
        self._acceptor.close()
        for connection in list(self._connections.values()):
            self._guard(connection, connection.wind_up)

    def _try(self, answer: Answer, request: Request, reply: Reply) -> None:
        try:
            answer(request, reply)
        except Exception:
            log.exception("answer failed request=%s", request.id)
            reply(failure(500, "internal error"))

    def _post(
        self, connection: Connection, request: Request, response: Response
    ) -> None:
        self._wakeups.post((connection, partial(connection.reply, request, response)))
