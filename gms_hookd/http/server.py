"""The HTTP front: one thread turns sockets into requests and responses into bytes.

Nothing about routes is decided here. One loop holds every connection until a whole
request is there, hands it to the application, and sends the answer when that is done:
at once, or later from another thread. No connection costs a thread, so that a slow
peer costs a little memory until its deadline and nothing else.
"""

import dataclasses
import itertools
import logging
import os
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from email.utils import formatdate
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
    failure,
)
from gms_hookd.http.http1 import serialise
from gms_hookd.http.limits import ConnectionLimiter, ConnectionLimits
from gms_hookd.http.listener import BACKLOG, Listener
from gms_hookd.http.message import Request, Response
from gms_hookd.http.tls import Context
from gms_hookd.http.wakeup import WakeupQueue
from gms_hookd.safetext import quoted
from gms_hookd.threads import SILENT, Pool, Supervised, Threads

Reply = Callable[[Response], None]
Answer = Callable[[Request, Reply], None]
Call = Callable[[], None]
ACCEPT_BATCH = 64
LARGE_BODIES = 1  # thread: they hold the interpreter's lock while they are parsed
HANDSHAKES = 2
LONGEST_END = 5.0  # seconds that a thread of a pool gets to end
SWEEP = 0.25
LOOKS = 100  # which take about a tenth of a millisecond

log = logging.getLogger(__name__)


class Batch(Protocol):
    """What does the work of all requests of one turn together, at its end."""

    def hold(self) -> None:
        """Wait for `release` with what this thread asks for."""

    def release(self) -> None:
        """Do it now, or have it done."""

    def end(self) -> None:
        """Do what nobody waits for: the answers are out."""


class _Nothing:
    def hold(self) -> None:
        pass

    release = end = hold


class Server(ThreadingHTTPServer):
    """The listeners and all their connections, served by the thread that calls us.

    `exempt` says which addresses
    stand for many peers (proxies), so that the limits per address are not theirs.
    """

    daemon_threads = True
    stopping = False
    _paused = True
    _interval = SWEEP
    _next_sweep = -inf
    _stop_at = inf
    _date = (-inf, "")
    _single = False

    def __init__(
        self,
        listeners: Sequence[Listener],
        answer: Answer,
        limits: ConnectionLimits | None = None,
        *,
        exempt: Callable[[str], bool] | None = None,
        batch: Batch | None = None,
        threads: Threads | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        # Not TCPServer's: the sockets are there, and no name is looked up for them.
        BaseServer.__init__(self, listeners[0].socket.getsockname(), Connection)
        self.socket = listeners[0].socket
        self.limits = limits or ConnectionLimits()
        self.now = clock()
        self._answer = answer
        self._batch = batch or _Nothing()
        self._clock = clock
        self._listeners = {each.socket.fileno(): each for each in listeners}
        self._connections: dict[int, Connection] = {}
        self._unfinished: dict[Connection, None] = {}
        self._late: deque[Connection] = deque()
        self._ready: deque[Connection] = deque()
        self._asked: list[tuple[Connection, Request]] = []
        self._limiter = ConnectionLimiter(self.limits, exempt)
        self._ids = itertools.count(int.from_bytes(os.urandom(8)))
        threads = threads or Threads()
        self._large = Pool(threads, "large-body", LARGE_BODIES)
        secured = any(each.tls for each in listeners)
        self._handshakes = Pool(threads, "handshake", HANDSHAKES if secured else 0)
        self._epoll = select.epoll()
        self._wakeups: WakeupQueue[tuple[Connection, Call]] = WakeupQueue()
        self._ended = threading.Event()
        self._ended.set()
        self._beat: Call = _nothing

    def run_forever(self, thread: Supervised) -> None:
        """Serve until `drain`; the thread gives a sign of life at each turn."""
        self._beat = thread.beat
        self.serve_forever()

    def serve_forever(self, poll_interval: float = SWEEP) -> None:
        """Serve until `drain` or `shutdown` is called from another thread."""
        self._ended.clear()
        self._interval = poll_interval
        try:
            self._epoll.register(self._wakeups, READ)
            self._resume()
            while self._serving():
                self._turn()
        finally:
            self._leave()
            self._ended.set()

    def _leave(self) -> None:
        """Close all connections, so that serving could begin again."""
        for connection in list(self._connections.values()):
            connection.finish()
        self._epoll.unregister(self._wakeups)
        if not self._paused:
            self._pause_accepting()

    def drain(self, seconds: float) -> None:
        """Accept nothing new, answer what is in flight, and end within `seconds`."""
        self._stop_at = self._clock() + seconds
        self._wakeups.wake()
        self._ended.wait(seconds + SILENT)

    def shutdown(self) -> None:
        """End now; what is in flight is cut off."""
        self.drain(0.0)

    def server_close(self) -> None:
        """Give back sockets and threads; not while serving."""
        for listener in self._listeners.values():
            listener.close()
        for pool in (self._large, self._handshakes):
            pool.close(LONGEST_END)
        self._epoll.close()
        self._wakeups.close()

    def reload_tls(self, context: Context) -> None:
        """Greet new connections with another certificate."""
        for descriptor, listener in self._listeners.items():
            if listener.tls is not None:
                changed = dataclasses.replace(listener, tls=context)
                self._listeners[descriptor] = changed

    def ask(self, connection: Connection, request: Request) -> None:
        """Have `request` answered, when the others of this turn are read.

        One step for all of them and then the next is faster than each request through
        all steps: the code of a step stays in the processor's caches.
        """
        self._asked.append((connection, request))

    def _answer_all(self) -> None:
        asked, self._asked = self._asked, []
        self._single = len(asked) == 1
        for connection, request in asked:
            reply = partial(self._post, connection, request)
            large = len(request.body) > LARGE
            self._try(self._answer_beside if large else self._answer, request, reply)

    def _answer_beside(self, request: Request, reply: Reply) -> None:
        """Have a pool do it: it takes long enough for everybody else to notice."""
        taken = self._large.do(partial(self._try, self._answer, request, reply))
        if taken.done() and taken.exception():
            reply(failure(503, "too many large requests", (("Retry-After", "10"),)))

    def shake(self, connection: Connection, step: Call) -> None:
        """Have a step of the TLS handshake computed."""
        self._handshakes.do(step).add_done_callback(
            lambda shaken: self._wakeups.post(
                (connection, partial(connection.shaken, shaken))
            )
        )

    def hold(self, connection: Connection, size: int) -> bool:
        """Count an unfinished request in memory as `size` bytes, from the first one on.

        Where all have too much together the oldest goes: who means it needs a moment.
        Returns whether there is room.
        """
        before, connection.held = connection.held, 0
        while not self._limiter.hold(connection.peer, before, size):
            before = 0
            others = (c for c in self._unfinished if c is not connection)
            oldest = next((c for c in others if c.state is READING), None)
            if oldest is None or self._limiter.has_room(size):
                self._unfinished.pop(connection, None)
                return False
            oldest.give_way()
        connection.held = size
        if size:
            self._unfinished.setdefault(connection)
        else:
            self._unfinished.pop(connection, None)
        return True

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
        self._ready.append(connection)

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
            self._late.remove(connection)
        else:
            self._limiter.leave(connection.peer, connection.listener.control)

    def new_id(self) -> str:
        """Return an id that no other request of this process has: 16 hex digits."""
        return f"{next(self._ids) & 0xFFFF_FFFF_FFFF_FFFF:016x}"

    def bytes_of(self, request: Request, response: Response, connection: str) -> bytes:
        """Return what goes over the wire."""
        with_body = request.method != "HEAD"
        date = self._http_date()
        try:
            return serialise(response, date, request.id, connection, body=with_body)
        except ValueError:
            log.exception("response not sendable request=%s", request.id)
            broken = failure(500, "internal error")
            return serialise(broken, date, request.id, connection, body=with_body)

    def _serving(self) -> bool:
        if self._stop_at == inf:
            return True
        if not self.stopping:
            self._stop_accepting()
        return bool(self._connections) and self._clock() < self._stop_at

    def _turn(self) -> None:
        events = self._events()
        self._beat()
        self.now = self._clock()
        # Nobody need wake us before we look into the box at the end.
        self._wakeups.disarm()
        self._batch.hold()
        try:
            self._work(events)
        finally:
            self._batch.release()
        self._wakeups.arm()
        self._deliver()
        self._batch.end()

    def _events(self) -> list[tuple[int, int]]:
        """Wait for events; after a single request look for the next a moment longer.

        Who sends one after another sends the next at once, and for so short a time it
        costs less to stay awake than to be woken.
        """
        if self._ready or self._asked:
            return self._epoll.poll(0)
        for _ in range(LOOKS if self._single else 0):
            if events := self._epoll.poll(0):
                return events
        self._single = False
        return self._epoll.poll(self._interval)

    def _work(self, events: list[tuple[int, int]]) -> None:
        others = []
        for descriptor, event in events:
            connection = self._connections.get(descriptor)
            if connection is None:
                others.append(descriptor)
            else:
                self._guard(connection, partial(connection.stir, event))
        # Accept last: a new socket may reuse the descriptor number that was closed
        # above.
        for descriptor in others:
            self._take(descriptor)
        self._deliver()
        self._continue()
        if self.now >= self._next_sweep:
            self._sweep()
        self._answer_all()

    def _take(self, descriptor: int) -> None:
        listener = self._listeners.get(descriptor)
        if listener is not None:
            self._accept(listener)
        elif descriptor == self._wakeups.fileno():
            self._wakeups.drain_pipe()

    def _guard(self, connection: Connection, act: Call) -> None:
        """Keep a fault of ours in one connection from ending all of them."""
        try:
            act()
        except Exception:
            log.exception("connection failed peer=%s", connection.peer)
            connection.finish()

    def _accept(self, listener: Listener, most: int = ACCEPT_BATCH) -> None:
        for accepted, address in list(self._accepted(listener, most)):
            self._admit(accepted, _peer(address), listener)

    def _accepted(
        self, listener: Listener, most: int
    ) -> Iterator[tuple[socket.socket, object]]:
        try:
            for _ in range(most):
                yield listener.socket.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        except OSError as error:
            self._pause(error)

    def _admit(self, accepted: socket.socket, peer: str, listener: Listener) -> None:
        late = not self._limiter.enter(peer, listener.control)
        connection = Connection(accepted, Origin(peer, listener, late), self)
        self._connections[accepted.fileno()] = connection
        if late:
            self._squeeze_in(connection)
        self._guard(connection, connection.handle)

    def _squeeze_in(self, connection: Connection) -> None:
        """Let a connection over the limits wait a moment, the oldest one no longer."""
        self._late.append(connection)
        if len(self._late) > self._limiter.late:
            oldest = self._late[0]
            self._guard(oldest, oldest.expire)
            oldest.finish()

    def _deliver(self) -> None:
        for connection, act in self._wakeups.take():
            self._guard(connection, act)

    def _continue(self) -> None:
        for _ in range(len(self._ready)):
            connection = self._ready.popleft()
            self._guard(connection, connection.go_on)

    def _sweep(self) -> None:
        self._next_sweep = self.now + self._interval
        for connection in list(self._connections.values()):
            self._guard(connection, connection.check)
        if self._paused and not self.stopping:
            self._resume()
        self._limiter.note(self.now)

    def _pause(self, error: OSError) -> None:
        """Stop accepting for a moment: no descriptor or memory is left."""
        if not self._paused:
            log.error("cannot accept connections reason=%s", quoted(error.strerror))
            self._pause_accepting()

    def _pause_accepting(self) -> None:
        self._paused = True
        for descriptor in self._listeners:
            self._epoll.unregister(descriptor)

    def _resume(self) -> None:
        self._paused = False
        for descriptor in self._listeners:
            self._epoll.register(descriptor, READ)

    def _stop_accepting(self) -> None:
        for listener in self._listeners.values():
            # Closing would reset who waits; on a lent socket our successor takes them.
            self._accept(listener, 0 if listener.lent else BACKLOG)
        self.stopping = True
        for descriptor, listener in self._listeners.items():
            # By hand: a lent socket stays open elsewhere, and epoll would keep it.
            if not self._paused:
                self._epoll.unregister(descriptor)
            listener.close()
        self._paused = True
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

    def _http_date(self) -> str:
        if self.now >= self._date[0]:
            self._date = (self.now + 1.0, formatdate(usegmt=True))
        return self._date[1]


def _nothing() -> None:
    pass


def _peer(address: object) -> str:
    """Return the address of the other end, empty for a unix socket."""
    if not isinstance(address, tuple):
        return ""
    host = str(address[0])
    if ":" not in host:
        return host
    host = host.partition("%")[0]
    return host.removeprefix("::ffff:") if "." in host else host
