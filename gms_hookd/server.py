"""The HTTP front: one thread turns sockets into requests and responses into bytes.

Nothing about routes is decided here. One loop holds every connection until a whole
request is there, hands it to the application, and sends the answer when that is done:
at once, or later from another thread. No connection costs a thread, so that a slow
peer costs a little memory until its deadline and nothing else.
"""

import itertools
import logging
import os
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from email.utils import formatdate
from enum import Enum
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from math import inf
from socketserver import BaseServer
from typing import NamedTuple

from gms_hookd.http1 import CONTINUE, Message, Phase, Reader, serialise
from gms_hookd.listener import Listener, listen
from gms_hookd.message import Fault, Request, Response

__all__ = ["Answer", "Limits", "Listener", "Server", "listen"]

Answer = Callable[[Request], "Future[Response]"]

RECEIVE = 64 * 1024
ACCEPT_BATCH = 64
READ = select.EPOLLIN
WRITE = select.EPOLLOUT
UNWATCHED = -1
LARGE = 64 * 1024
POOL = 2
SWEEP = 0.25

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Limits:
    """What one peer may cost; times are absolute, in seconds."""

    body: int = 25 * 1024 * 1024
    head_time: float = 10.0
    body_time: float = 30.0
    answer_time: float = 330.0
    send_time: float = 30.0
    # Longer than the 60 s for which nginx keeps an idle connection to us.
    idle_time: float = 65.0
    linger_time: float = 5.0
    # A peer that shut its sending side may still wait for a quick answer.
    gone_time: float = 5.0


class Origin(NamedTuple):
    """Where a connection comes from: the peer's address and the listener it chose."""

    peer: str
    listener: Listener


class State(Enum):
    """What a connection waits for."""

    READING = "reading"
    ANSWERING = "answering"
    SENDING = "sending"
    LINGERING = "lingering"
    CLOSED = "closed"


class Connection(BaseHTTPRequestHandler):
    """One connection, one request at a time.

        READING -> ANSWERING -> SENDING -> READING       kept alive
                                        -> CLOSED        asked for, nothing unread
                                        -> LINGERING -> CLOSED

    A refused request takes the same way with a fault, and always lingers: closing with
    bytes unread would reset the connection before the peer has read the answer.
    """

    server: "Server"
    request: socket.socket

    def __init__(
        self, request: socket.socket, client_address: "Origin", server: "Server"
    ) -> None:
        # Not the base's: that would read and answer here, holding the thread.
        self.request = request
        self.peer, self.listener = client_address
        self.server = server
        self.state = State.READING
        self.deadline = server.now + server.limits.head_time
        self.interest = UNWATCHED
        self._reader = Reader(server.limits.body)
        self._phase = Phase.HEAD
        self._asked: Request | None = None
        self._keep_alive = False
        self._old = False
        self._unsent = b""

    def handle(self) -> None:
        """Go on with what the socket has or takes."""
        if self.state is State.READING:
            self._read()
        elif self.state is State.SENDING:
            self._send()
        elif self.state is State.LINGERING:
            self._discard()

    def stir(self, event: int) -> None:
        """Take what epoll found."""
        if self.state is not State.ANSWERING:
            self.handle()
        elif event & (select.EPOLLHUP | select.EPOLLERR):
            self.finish()
        elif event & select.EPOLLRDHUP:
            gone = self.server.now + self.server.limits.gone_time
            self.deadline = min(self.deadline, gone)
            self.server.watch(self, 0)
        else:
            self.server.watch(self, select.EPOLLRDHUP)

    def advance(self) -> None:
        """Answer the next whole request, if there is one."""
        message = self._reader.next()
        if message is not None:
            self._ask(message)
            return
        if self._reader.owes_continue():
            self._push(CONTINUE)
        self._note_phase()
        self.server.watch(self, READ)

    def reply(self, request: Request, response: Response) -> None:
        """Send the answer to `request`, if somebody still waits for it."""
        if self._asked is not request:
            return
        self._asked = None
        self._keep_alive = self._keep_alive and not self.server.stopping
        option = self._connection_option()
        self._unsent = self.server.bytes_of(request, response, option)
        self.state = State.SENDING
        self.deadline = self.server.now + self.server.limits.send_time
        self._send()

    def check(self) -> None:
        """Act on the deadline; see to it that a peer going away is noticed."""
        if self.deadline <= self.server.now:
            self._expire()
        elif self.state is State.ANSWERING and self.interest == UNWATCHED:
            self.server.watch(self, select.EPOLLRDHUP)

    def finish(self) -> None:
        """Close at once."""
        if self.state is not State.CLOSED:
            self.state = State.CLOSED
            self._asked = None
            self.server.forget(self)
            self.request.close()

    @property
    def idle(self) -> bool:
        """Whether the peer has asked for nothing that is still open."""
        return self.state is State.READING and self._reader.phase is Phase.IDLE

    def _read(self) -> None:
        data = self._receive()
        if data is None:
            self.server.watch(self, READ)
        elif data:
            self._reader.feed(data)
            self.advance()
        else:
            self._end()

    def _receive(self) -> bytes | None:
        """Return what is there, b"" at the end, None when there is nothing yet."""
        try:
            return self.request.recv(RECEIVE, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return None
        except OSError:
            return b""

    def _end(self) -> None:
        message = self._reader.eof()
        if message is None:
            self.finish()
        else:
            self._ask(message)

    def _expire(self) -> None:
        if self.state is not State.READING or self._reader.phase is Phase.IDLE:
            self.finish()
        else:
            self._ask(self._reader.refuse(Fault(408, "request took too long")))

    def _note_phase(self) -> None:
        phase = self._reader.phase
        if phase is not self._phase:
            self._phase = phase
            self.deadline = self.server.now + self.server.time_for(phase)

    def _ask(self, message: Message) -> None:
        head, body, fault = message
        self._keep_alive = fault is None and head.keep_alive
        self._asked = request = Request(
            head.method,
            head.path,
            head.query,
            head.headers,
            body,
            self.peer,
            self.listener.control,
            self.server.new_id(),
            fault,
        )
        self._old = head.minor == 0
        self.state = State.ANSWERING
        self.deadline = self.server.now + self.server.limits.answer_time
        self.server.ask(self, request)

    def _connection_option(self) -> str:
        if not self._keep_alive:
            return "close"
        return "keep-alive" if self._old else ""

    def _push(self, data: bytes) -> int:
        try:
            return self.request.send(data, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return 0

    def _send(self) -> None:
        try:
            sent = self._push(self._unsent)
        except OSError:
            self.finish()
            return
        if sent < len(self._unsent):
            self._unsent = self._unsent[sent:]
            self.server.watch(self, WRITE)
            return
        self._unsent = b""
        self._sent()

    def _sent(self) -> None:
        if self._keep_alive:
            self._rest()
        elif self.interest == UNWATCHED and self._reader.phase is Phase.IDLE:
            self.finish()
        else:
            self._linger()

    def _rest(self) -> None:
        self.state = State.READING
        self._phase = Phase.DEAD
        self._note_phase()
        if self._reader.held:
            self.server.go_on(self)
        else:
            self.server.watch(self, READ)

    def _linger(self) -> None:
        self.state = State.LINGERING
        self.deadline = self.server.now + self.server.linger_time()
        try:
            self.request.shutdown(socket.SHUT_WR)
        except OSError:
            self.finish()
            return
        self.server.watch(self, READ)

    def _discard(self) -> None:
        if self._receive() == b"":
            self.finish()


class Server(ThreadingHTTPServer):
    """The listeners and all their connections, served by the thread that calls us.

    `beat` is the monotonic time of the loop's last turn.
    """

    daemon_threads = True

    def __init__(
        self,
        listeners: Sequence[Listener],
        answer: Answer,
        limits: Limits | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        # Not TCPServer's: the sockets are there, and no name is looked up for them.
        BaseServer.__init__(self, listeners[0].socket.getsockname(), Connection)
        self.socket = listeners[0].socket
        self.limits = limits or Limits()
        self.now = self.beat = clock()
        self.stopping = False
        self._listeners = {each.socket.fileno(): each for each in listeners}
        self._answer = answer
        self._clock = clock
        self._connections: dict[int, Connection] = {}
        self._outbox: deque[tuple[Connection, Request, Future[Response]]] = deque()
        self._ready: deque[Connection] = deque()
        self._ids = itertools.count(int.from_bytes(os.urandom(8)))
        self._pool = ThreadPoolExecutor(POOL, "large-body")
        self._epoll = select.epoll()
        self._alarm, self._bell = socket.socketpair()
        self._rung = False
        self._date = (-inf, "")
        self._next_sweep = self.now
        self._stop_at = inf
        self._stopped = threading.Event()
        self._stopped.set()
        for each in (self._alarm, self._bell):
            each.setblocking(False)

    def serve_forever(self, poll_interval: float = 0.25) -> None:
        """Serve until `drain` or `shutdown` is called from another thread."""
        self._stopped.clear()
        try:
            self._epoll.register(self._alarm.fileno(), READ)
            self._resume()
            while self._serving():
                self._turn(poll_interval)
        finally:
            for connection in list(self._connections.values()):
                connection.finish()
            self._stopped.set()

    def drain(self, seconds: float) -> None:
        """Accept nothing new, answer what is in flight, and end within `seconds`."""
        self._stop_at = self._clock() + seconds
        self._wake()
        self._stopped.wait()

    def shutdown(self) -> None:
        """End now; what is in flight is cut off."""
        self.drain(0.0)

    def server_close(self) -> None:
        """Give back sockets and threads; not while serving."""
        for listener in self._listeners.values():
            listener.close()
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._epoll.close()
        self._alarm.close()
        self._bell.close()

    def ask(self, connection: Connection, request: Request) -> None:
        """Have `request` answered, now or later."""
        if len(request.body) > LARGE:
            # Hashing and parsing it takes long enough for everybody else to notice.
            self._pool.submit(self._ask_later, connection, request)
            return
        future = self._answer_to(request)
        if future.done():
            connection.reply(request, self._response(request, future))
        else:
            future.add_done_callback(partial(self._post, connection, request))

    def watch(self, connection: Connection, interest: int) -> None:
        """Let the loop call `connection` when its socket is ready for `interest`."""
        if interest == connection.interest:
            return
        if connection.interest == UNWATCHED:
            self._epoll.register(connection.request.fileno(), interest)
        else:
            self._epoll.modify(connection.request.fileno(), interest)
        connection.interest = interest

    def go_on(self, connection: Connection) -> None:
        """Let `connection` take its next request when the others had their turn."""
        self._ready.append(connection)

    def forget(self, connection: Connection) -> None:
        """Take `connection`, which is about to close, out of the books."""
        del self._connections[connection.request.fileno()]

    def time_for(self, phase: Phase) -> float:
        """Return how many seconds a peer has for `phase` of a request."""
        if phase is Phase.IDLE:
            return self.limits.idle_time
        return self.limits.head_time if phase is Phase.HEAD else self.limits.body_time

    def linger_time(self) -> float:
        """Return how many seconds a peer has to read an answer after which we close."""
        return 0.5 if self.stopping else self.limits.linger_time

    def new_id(self) -> str:
        """Return an id that no other request of this process has: 16 hex digits."""
        return f"{next(self._ids) & 0xFFFF_FFFF_FFFF_FFFF:016x}"

    def bytes_of(self, request: Request, response: Response, connection: str) -> bytes:
        """Return what goes over the wire."""
        date, body = self._http_date(), request.method != "HEAD"
        try:
            return serialise(response, date=date, connection=connection, body=body)
        except ValueError:
            log.exception("response not sendable request=%s", request.id)
            broken = _failure(request, 500, "internal error")
            return serialise(broken, date=date, connection=connection, body=body)

    def _serving(self) -> bool:
        if self._stop_at == inf:
            return True
        if not self.stopping:
            self._stop_accepting()
        return bool(self._connections) and self._clock() < self._stop_at

    def _turn(self, timeout: float) -> None:
        events = self._epoll.poll(0 if self._ready else timeout)
        self.now = self.beat = self._clock()
        others = []
        for descriptor, event in events:
            connection = self._connections.get(descriptor)
            if connection is None:
                others.append(descriptor)
            else:
                self._guard(connection, partial(connection.stir, event))
        self._deliver()
        self._continue()
        # Last, so that a descriptor that was just closed is not mistaken for its heir.
        for descriptor in others:
            self._take(descriptor)
        if self.now >= self._next_sweep:
            self._sweep()

    def _take(self, descriptor: int) -> None:
        listener = self._listeners.get(descriptor)
        if listener is not None:
            self._accept(listener)
        elif descriptor == self._alarm.fileno():
            self._rung = False
            self._alarm.recv(64)
            self._deliver()

    def _guard(self, connection: Connection, act: Callable[[], None]) -> None:
        """Keep a fault of ours in one connection from ending all of them."""
        try:
            act()
        except Exception:
            log.exception("connection failed peer=%s", connection.peer)
            connection.finish()

    def _accept(self, listener: Listener) -> None:
        for _ in range(ACCEPT_BATCH):
            try:
                accepted, address = listener.socket.accept()
            except ConnectionAbortedError:
                continue
            except OSError:
                return
            connection = Connection(accepted, Origin(_peer(address), listener), self)
            self._connections[accepted.fileno()] = connection
            self._guard(connection, connection.handle)

    def _deliver(self) -> None:
        while self._outbox:
            connection, request, future = self._outbox.popleft()
            response = self._response(request, future)
            self._guard(connection, partial(connection.reply, request, response))

    def _continue(self) -> None:
        for _ in range(len(self._ready)):
            connection = self._ready.popleft()
            if connection.state is State.READING:
                self._guard(connection, connection.advance)

    def _sweep(self) -> None:
        self._next_sweep = self.now + SWEEP
        for connection in list(self._connections.values()):
            self._guard(connection, connection.check)

    def _resume(self) -> None:
        for descriptor in self._listeners:
            self._epoll.register(descriptor, READ)

    def _stop_accepting(self) -> None:
        self.stopping = True
        for descriptor, listener in self._listeners.items():
            self._epoll.unregister(descriptor)
            listener.close()
        for connection in list(self._connections.values()):
            if connection.idle:
                connection.finish()

    def _answer_to(self, request: Request) -> "Future[Response]":
        try:
            return self._answer(request)
        except Exception:
            log.exception("answer failed request=%s", request.id)
            failed: Future[Response] = Future()
            failed.set_result(_failure(request, 500, "internal error"))
            return failed

    def _ask_later(self, connection: Connection, request: Request) -> None:
        future = self._answer_to(request)
        future.add_done_callback(partial(self._post, connection, request))

    def _post(
        self, connection: Connection, request: Request, future: "Future[Response]"
    ) -> None:
        self._outbox.append((connection, request, future))
        self._wake()

    def _wake(self) -> None:
        if not self._rung:
            self._rung = True
            with suppress(OSError):  # full: it rings already; closed: nobody listens
                self._bell.send(b"!")

    def _response(self, request: Request, future: "Future[Response]") -> Response:
        try:
            return future.result()
        except Exception:
            log.exception("answer failed request=%s", request.id)
            return _failure(request, 500, "internal error")

    def _http_date(self) -> str:
        if self.now >= self._date[0]:
            self._date = (self.now + 1.0, formatdate(usegmt=True))
        return self._date[1]


def _failure(request: Request, status: int, message: str) -> Response:
    headers = (("Content-Type", "application/json"), ("X-Request-Id", request.id))
    return Response(status, f'{{"error": "{message}"}}'.encode(), headers)


def _peer(address: object) -> str:
    """Return the address of the other end, empty for a unix socket."""
    if not isinstance(address, tuple):
        return ""
    host = str(address[0]).partition("%")[0]
    return host.removeprefix("::ffff:") if "." in host else host
