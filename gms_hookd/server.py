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
import resource
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
from gms_hookd.listener import Listener, adopt, listen
from gms_hookd.message import Fault, Request, Response
from gms_hookd.quota import Quota
from gms_hookd.tls import Channel, Context, TlsError

__all__ = [
    "Answer",
    "Limits",
    "Listener",
    "Server",
    "adopt",
    "lift_descriptor_limit",
    "listen",
]

Answer = Callable[[Request], "Future[Response]"]

RECEIVE = 64 * 1024
ACCEPT_BATCH = 64
READ = select.EPOLLIN
WRITE = select.EPOLLOUT
UNWATCHED = -1
LARGE = 64 * 1024  # bodies above it are counted, and answered outside the loop
POOL = 2
SWEEP = 0.25
CONTROL_CONNECTIONS = 128
LATE_CONNECTIONS = 64
OTHER_DESCRIPTORS = 512  # for git's pipes, the store, the two above

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Limits:
    """What peers may cost; times are in seconds and absolute.

    `body` and `held` are bytes: of one body, and of all large ones that are not
    answered yet. A connection over `connections` or `per_address` is told 503, but may
    still ask for one of `always`.
    """

    body: int = 25 * 1024 * 1024
    held: int = 200 * 1024 * 1024
    connections: int = 16_384
    per_address: int = 1_024
    always: frozenset[str] = frozenset({"/healthz"})
    head_time: float = 10.0
    body_time: float = 30.0
    # The longest ?wait= is 300.
    answer_time: float = 330.0
    send_time: float = 30.0
    # Longer than the 60 s for which nginx keeps an idle connection to us.
    idle_time: float = 65.0
    linger_time: float = 5.0
    # A peer that shut its sending side may still wait for a quick answer.
    gone_time: float = 5.0
    late_time: float = 0.5


class Origin(NamedTuple):
    """Where a connection comes from: the peer's address and the listener it chose.

    It is `late` when there was no place left for it.
    """

    peer: str
    listener: Listener
    late: bool


class State(Enum):
    """What a connection waits for."""

    SHAKING = "shaking"
    READING = "reading"
    ANSWERING = "answering"
    SENDING = "sending"
    LINGERING = "lingering"
    CLOSED = "closed"


class Connection(BaseHTTPRequestHandler):
    """One connection, one request at a time.

        (SHAKING ->) READING -> ANSWERING -> SENDING -> READING    kept alive
                                                     -> CLOSED     nothing unread
                                                     -> LINGERING -> CLOSED

    SHAKING is TLS's handshake, computed by another thread. A refused request takes the
    same way with a fault, and always lingers: closing with bytes unread would reset the
    connection before the peer has read the answer.
    """

    server: "Server"
    request: socket.socket

    def __init__(
        self, request: socket.socket, client_address: Origin, server: "Server"
    ) -> None:
        # Not the base's: that would read and answer here, holding the thread.
        self.request = request
        self.peer, self.listener, self.late = client_address
        self.server = server
        self.state = State.READING
        limits = server.limits
        self.deadline = server.now + (
            limits.late_time if self.late else limits.head_time
        )
        self.interest = UNWATCHED
        self.held = 0
        self._tls = Channel(self.listener.tls) if self.listener.tls else None
        self._reader = Reader(server.limits.body)
        self._phase = Phase.HEAD
        self._asked: Request | None = None
        self._keep_alive = False
        self._old = False
        self._unsent = b""

    @property
    def idle(self) -> bool:
        """Whether the peer has asked for nothing that is still open."""
        return self.state is State.READING and self._reader.phase is Phase.IDLE

    def handle(self) -> None:
        """Go on with what the socket has or takes."""
        if self.state is State.READING:
            self._read()
        elif self.state is State.SENDING:
            self._send()
        elif self.state is State.LINGERING and self._receive() == b"":
            self.finish()

    def stir(self, event: int) -> None:
        """Take what epoll found."""
        if self.state not in (State.ANSWERING, State.SHAKING):
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
        if message is None:
            self._await_more()
        elif self.late and message.head.path not in self.server.limits.always:
            self.turn_away()
        else:
            self._ask(message)

    def reply(self, request: Request, response: Response) -> None:
        """Send the answer to `request`, if somebody still waits for it."""
        if self._asked is not request:
            return
        self._asked = None
        self.server.hold(self, 0)
        self._keep_alive = self._keep_alive and not self.server.stopping
        option = self._connection_option()
        self._begin_sending(self.server.bytes_of(request, response, option))

    def turn_away(self) -> None:
        """Send the one answer that costs nothing."""
        self._keep_alive = False
        request = Request("", "", id=self.server.new_id())
        self._begin_sending(self.server.bytes_of(request, _full(request), "close"))

    def check(self) -> None:
        """Act on the deadline; see to it that a peer going away is noticed."""
        if self.deadline <= self.server.now:
            self.expire()
        elif self.state is State.ANSWERING and self.interest == UNWATCHED:
            self.server.watch(self, select.EPOLLRDHUP)

    def expire(self) -> None:
        """End what takes too long, with an answer where one is due."""
        if self.state is State.ANSWERING and self._asked:
            late = _failure(self._asked, 503, "no answer in time")
            self.reply(self._asked, late)
        elif self.state is not State.READING:
            self.finish()
        elif self.late:
            self.turn_away()
        elif self._reader.phase is Phase.IDLE:
            self.finish()
        else:
            self._ask(self._reader.refuse(Fault(408, "request took too long")))

    def finish(self) -> None:
        """Close at once."""
        if self.state is not State.CLOSED:
            self.state = State.CLOSED
            self._asked = None
            self.server.forget(self)
            self.request.close()

    def _read(self) -> None:
        data = self._receive()
        if data is None:
            self.server.watch(self, READ)
        elif not data:
            self._end()
        elif self._tls is None:
            self._reader.feed(data)
            self.advance()
        elif self._tls.established:
            self._open(self._tls, data)
        else:
            self.state = State.SHAKING
            self.server.shake(self, partial(self._tls.shake, data))

    def _receive(self) -> bytes | None:
        """Return what is there, b"" at the end, None when there is nothing yet."""
        try:
            return self.request.recv(RECEIVE, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return None
        except OSError:
            return b""

    def shaken(self, done: "Future[None]") -> None:
        """Go on after a step of the handshake."""
        if self.state is not State.SHAKING or self._tls is None:
            return
        self._push(self._tls.outgoing())
        if done.exception():
            self.finish()
            return
        self.state = State.READING
        # What came with the last step is plain text already.
        self._open(self._tls, b"") if self._tls.established else self._read()

    def _open(self, tls: Channel, data: bytes) -> None:
        try:
            plain = tls.open(data)
        except TlsError:
            self._push(tls.outgoing())
            self.finish()
            return
        self._push(tls.outgoing())
        if plain:
            self._reader.feed(plain)
            self.advance()
        elif tls.ended:
            self._end()
        else:
            self.server.watch(self, READ)

    def _end(self) -> None:
        message = self._reader.eof()
        if message is None:
            self.finish()
        else:
            self._ask(message)

    def _await_more(self) -> None:
        held = self._reader.held
        if held > LARGE and not self.server.hold(self, held):
            self._ask(self._reader.refuse(Fault(503, "too many large requests")))
            return
        if self._reader.owes_continue():
            self._push(self._sealed(CONTINUE))
        self._note_phase()
        self.server.watch(self, READ)

    def _note_phase(self) -> None:
        phase = self._reader.phase
        if phase is not self._phase and not self.late:
            self._phase = phase
            self.deadline = self.server.now + self.server.time_for(phase)

    def _ask(self, message: Message) -> None:
        head, body, fault = message
        self._keep_alive = fault is None and not self.late and head.keep_alive
        self._old = head.minor == 0
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
        self.state = State.ANSWERING
        self.deadline = self.server.now + self.server.limits.answer_time
        self.server.ask(self, request)

    def _connection_option(self) -> str:
        if not self._keep_alive:
            return "close"
        return "keep-alive" if self._old else ""

    def _begin_sending(self, data: bytes) -> None:
        self._unsent = self._sealed(data, last=not self._keep_alive)
        self.state = State.SENDING
        self.deadline = self.server.now + self.server.limits.send_time
        self._send()

    def _sealed(self, data: bytes, last: bool = False) -> bytes:
        if self._tls is None:
            return data
        return self._tls.seal(data, last) if self._tls.established else b""

    def _push(self, data: bytes) -> int:
        """Send what goes at once; return how much that was, -1 on a broken socket."""
        try:
            return self.request.send(data, socket.MSG_DONTWAIT) if data else 0
        except BlockingIOError:
            return 0
        except OSError:
            return -1

    def _send(self) -> None:
        sent = self._push(self._unsent)
        if sent < 0:
            self.finish()
        elif sent < len(self._unsent):
            self._unsent = self._unsent[sent:]
            self.server.watch(self, WRITE)
        elif self._keep_alive:
            self._rest()
        elif self.interest == UNWATCHED and self._reader.phase is Phase.IDLE:
            self.finish()
        else:
            self._linger()

    def _rest(self) -> None:
        self.state = State.READING
        self._unsent = b""
        self._phase = Phase.DEAD
        self._note_phase()
        if self._reader.held:
            self.server.go_on(self)
        else:
            self.server.watch(self, READ)

    def _linger(self) -> None:
        self.state = State.LINGERING
        self._unsent = b""
        self.deadline = self.server.now + self.server.linger_time()
        try:
            self.request.shutdown(socket.SHUT_WR)
        except OSError:
            self.finish()
            return
        self.server.watch(self, READ)


class Server(ThreadingHTTPServer):
    """The listeners and all their connections, served by the thread that calls us.

    `beat` is the monotonic time of the loop's last turn. `exempt` says which addresses
    stand for many peers (proxies), so that the limits per address are not theirs.
    """

    daemon_threads = True

    def __init__(
        self,
        listeners: Sequence[Listener],
        answer: Answer,
        limits: Limits | None = None,
        *,
        exempt: Callable[[str], bool] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        # Not TCPServer's: the sockets are there, and no name is looked up for them.
        BaseServer.__init__(self, listeners[0].socket.getsockname(), Connection)
        self.socket = listeners[0].socket
        self.limits = limits or Limits()
        self.now = self.beat = clock()
        self.stopping = False
        self._answer = answer
        self._clock = clock
        self._listeners = {each.socket.fileno(): each for each in listeners}
        self._connections: dict[int, Connection] = {}
        self._late: deque[Connection] = deque()
        self._ready: deque[Connection] = deque()
        self._places, self._held = _quotas(self.limits, exempt)
        self._control_places = Quota(CONTROL_CONNECTIONS, CONTROL_CONNECTIONS)
        self._turned_away = 0
        self._ids = itertools.count(int.from_bytes(os.urandom(8)))
        self._date = (-inf, "")
        self._large = ThreadPoolExecutor(POOL, "large-body")
        self._handshakes = ThreadPoolExecutor(POOL, "handshake")
        self._epoll = select.epoll()
        self._outbox: deque[tuple[Connection, Callable[[], None]]] = deque()
        self._alarm, self._bell = socket.socketpair()
        self._alarm.setblocking(False)
        self._bell.setblocking(False)
        self._rung = False
        self._next_sweep = self._next_note = self.now
        self._sweep_time = SWEEP
        self._paused = True
        self._stop_at = inf
        self._stopped = threading.Event()
        self._stopped.set()

    def serve_forever(self, poll_interval: float = SWEEP) -> None:
        """Serve until `drain` or `shutdown` is called from another thread."""
        self._stopped.clear()
        self._sweep_time = poll_interval
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
        for pool in (self._large, self._handshakes):
            pool.shutdown(cancel_futures=True)
        self._epoll.close()
        self._alarm.close()
        self._bell.close()

    def reload_tls(self, context: Context) -> None:
        """Greet new connections with another certificate."""
        for descriptor, listener in self._listeners.items():
            if listener.tls is not None:
                changed = dataclasses.replace(listener, tls=context)
                self._listeners[descriptor] = changed

    def ask(self, connection: Connection, request: Request) -> None:
        """Have `request` answered, now or later."""
        if len(request.body) > LARGE:
            # Hashing and parsing it takes long enough for everybody else to notice.
            self._large.submit(self._ask_later, connection, request)
            return
        future = self._answer_to(request)
        if future.done():
            connection.reply(request, self._response(request, future))
        else:
            future.add_done_callback(partial(self._post, connection, request))

    def shake(self, connection: Connection, step: Callable[[], None]) -> None:
        """Have a step of the TLS handshake computed."""
        future = self._handshakes.submit(step)
        future.add_done_callback(
            lambda done: self._call(connection, partial(connection.shaken, done))
        )

    def hold(self, connection: Connection, size: int) -> bool:
        """Count a large body in memory as `size` bytes; say whether there is room."""
        if connection.held:
            self._held.give_back(connection.peer, connection.held)
            connection.held = 0
        if size and not self._held.take(connection.peer, size):
            return False
        connection.held = size
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

    def go_on(self, connection: Connection) -> None:
        """Let `connection` take its next request when the others had their turn."""
        self._ready.append(connection)

    def forget(self, connection: Connection) -> None:
        """Take `connection`, which is about to close, out of the books."""
        del self._connections[connection.request.fileno()]
        self.hold(connection, 0)
        if connection.late:
            self._late.remove(connection)
        else:
            self._places_of(connection.listener).give_back(connection.peer)

    def time_for(self, phase: Phase) -> float:
        """Return how many seconds a peer has for `phase` of a request."""
        if phase is Phase.IDLE:
            return self.limits.idle_time
        return self.limits.head_time if phase is Phase.HEAD else self.limits.body_time

    def time_to_begin(self, late: bool) -> float:
        """Return how many seconds a new connection has for its first request's head."""
        return self.limits.late_time if late else self.limits.head_time

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
        # Last, so that a descriptor that was just closed is not mistaken for its heir.
        for descriptor in others:
            self._take(descriptor)
        self._deliver()
        self._continue()
        if self.now >= self._next_sweep:
            self._sweep()

    def _take(self, descriptor: int) -> None:
        listener = self._listeners.get(descriptor)
        if listener is not None:
            self._accept(listener)
        elif descriptor == self._alarm.fileno():
            self._rung = False
            self._alarm.recv(64)

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
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError as error:
                self._pause(error)
                return
            self._admit(accepted, _peer(address), listener)

    def _admit(self, accepted: socket.socket, peer: str, listener: Listener) -> None:
        late = not self._places_of(listener).take(peer)
        connection = Connection(accepted, Origin(peer, listener, late), self)
        self._connections[accepted.fileno()] = connection
        if late:
            self._squeeze_in(connection)
        self._guard(connection, connection.handle)

    def _squeeze_in(self, connection: Connection) -> None:
        """Let a connection over the limits wait a moment, the oldest one no longer."""
        self._turned_away += 1
        self._late.append(connection)
        if len(self._late) > LATE_CONNECTIONS:
            oldest = self._late[0]
            self._guard(oldest, oldest.expire)
            oldest.finish()

    def _places_of(self, listener: Listener) -> Quota:
        return self._control_places if listener.control else self._places

    def _deliver(self) -> None:
        while self._outbox:
            connection, act = self._outbox.popleft()
            self._guard(connection, act)

    def _continue(self) -> None:
        for _ in range(len(self._ready)):
            connection = self._ready.popleft()
            if connection.state is State.READING:
                self._guard(connection, connection.advance)

    def _sweep(self) -> None:
        self._next_sweep = self.now + self._sweep_time
        for connection in list(self._connections.values()):
            self._guard(connection, connection.check)
        if self._paused and not self.stopping:
            self._resume()
        self._note_turned_away()

    def _note_turned_away(self) -> None:
        if self._turned_away and self.now >= self._next_note:
            self._next_note = self.now + 10.0
            log.warning("connections turned away count=%d", self._turned_away)
            self._turned_away = 0

    def _pause(self, error: OSError) -> None:
        """Stop accepting for a moment: no descriptor or memory is left."""
        if not self._paused:
            log.error("cannot accept connections reason=%s", error.strerror)
            self._paused = True
            for descriptor in self._listeners:
                self._epoll.unregister(descriptor)

    def _resume(self) -> None:
        self._paused = False
        for descriptor in self._listeners:
            self._epoll.register(descriptor, READ)

    def _stop_accepting(self) -> None:
        self.stopping = True
        for descriptor, listener in self._listeners.items():
            # By hand: a lent socket stays open elsewhere, and epoll would keep it.
            if not self._paused:
                self._epoll.unregister(descriptor)
            listener.close()
        self._paused = True
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
        self._call(connection, partial(self._reply, connection, request, future))

    def _call(self, connection: Connection, act: Callable[[], None]) -> None:
        """Have the loop's thread call `act`; any thread may ask for it."""
        self._outbox.append((connection, act))
        self._wake()

    def _wake(self) -> None:
        if not self._rung:
            self._rung = True
            with suppress(OSError):  # full: it rings already; closed: nobody listens
                self._bell.send(b"!")

    def _reply(
        self, connection: Connection, request: Request, future: "Future[Response]"
    ) -> None:
        connection.reply(request, self._response(request, future))

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


def lift_descriptor_limit(limits: Limits) -> None:
    """Let this process open as many sockets as `limits` allow, as far as it may."""
    wanted = limits.connections + OTHER_DESCRIPTORS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def _quotas(
    limits: Limits, exempt: Callable[[str], bool] | None
) -> tuple[Quota, Quota]:
    """Return the limits on connections and on bytes of large bodies."""

    def many(peer: str) -> bool:
        return not peer or (exempt is not None and exempt(peer))

    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if descriptors == resource.RLIM_INFINITY:
        descriptors = limits.connections + OTHER_DESCRIPTORS
    total = max(1, min(limits.connections, descriptors - OTHER_DESCRIPTORS))
    share = max(1, min(limits.per_address, total // 2))
    return Quota(total, share, many), Quota(limits.held, limits.held // 2, many)


def _failure(request: Request, status: int, message: str) -> Response:
    headers = (("Content-Type", "application/json"), ("X-Request-Id", request.id))
    return Response(status, f'{{"error": "{message}"}}'.encode(), headers)


def _full(request: Request) -> Response:
    full = _failure(request, 503, "too many connections")
    return dataclasses.replace(full, headers=(*full.headers, ("Retry-After", "1")))


def _peer(address: object) -> str:
    """Return the address of the other end, empty for a unix socket."""
    if not isinstance(address, tuple):
        return ""
    host = str(address[0]).partition("%")[0]
    return host.removeprefix("::ffff:") if "." in host else host
