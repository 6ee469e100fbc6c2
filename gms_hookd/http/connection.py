"""One connection as a state machine: its socket's events come in, it acts.

It never waits. Whatever takes time, the loop that owns it does: see `Loop`.
"""

import select
import socket
from collections.abc import Callable
from enum import Enum
from functools import partial
from http.server import BaseHTTPRequestHandler
from typing import NamedTuple, Protocol

from gms_hookd.futures import Future
from gms_hookd.http.encoder import ResponseEncoder, failure
from gms_hookd.http.http1 import CONTINUE, HEAD, IDLE, Message, Reader
from gms_hookd.http.limits import ConnectionLimits
from gms_hookd.http.listener import Listener
from gms_hookd.http.message import Fault, Request, Response
from gms_hookd.http.tls import Channel, TlsError

RECEIVE = 64 * 1024
LARGE = 64 * 1024  # bodies above it are counted, and answered outside the loop
READ = select.EPOLLIN
WRITE = select.EPOLLOUT
GONE = select.EPOLLRDHUP
BROKEN = select.EPOLLHUP | select.EPOLLERR
NOTHING = 0
UNWATCHED = -1


class Loop(Protocol):
    """What a connection asks of the loop that owns it."""

    limits: ConnectionLimits
    encoder: ResponseEncoder
    now: float
    stopping: bool

    def watch(self, connection: "Connection", interest: int) -> None:
        """Call `stir` when the socket is ready for `interest`."""

    def line_up(self, connection: "Connection") -> None:
        """Call `go_on` when the others had their turn."""

    def ask(self, connection: "Connection", request: Request) -> None:
        """Call `reply` when `request` is answered, perhaps at once."""

    def shake(self, connection: "Connection", step: Callable[[], None]) -> None:
        """Call `shaken` when another thread has done `step`."""

    def hold(self, connection: "Connection", size: int) -> bool:
        """Count `size` bytes as kept for `connection`, unless there is no room."""

    def forget(self, connection: "Connection") -> None:
        """Take `connection`, which is about to close, out of the books."""


class Origin(NamedTuple):
    """Where a connection comes from: the peer's address and the listener it chose.

    It is `late` when there was no place left for it.
    """

    peer: str
    listener: Listener
    late: bool


class ConnectionPhase(Enum):
    """What a connection waits for."""

    SHAKING = "shaking"
    READING = "reading"
    ANSWERING = "answering"
    SENDING = "sending"
    LINGERING = "lingering"
    CLOSED = "closed"


# To find a member of an enumeration takes longer than to find a global.
SHAKING, READING, ANSWERING, SENDING, LINGERING, CLOSED = ConnectionPhase


class Connection(BaseHTTPRequestHandler):
    """One connection, one request at a time.

        (SHAKING ->) READING -> ANSWERING -> SENDING -> READING    kept alive
                                                     -> CLOSED     nothing unread
                                                     -> LINGERING -> CLOSED

    SHAKING is TLS's handshake, computed by another thread. A refused request takes the
    same way with a fault, and always lingers: closing with bytes unread would reset the
    connection before the peer has read the answer.
    """

    request: socket.socket

    def __init__(
        self, request: socket.socket, client_address: Origin, server: Loop
    ) -> None:
        # Not the base's: that would read and answer here, holding the thread.
        self.request = request
        self.peer, self.listener, self.late = client_address
        self._loop = server
        self.state = READING
        limits = server.limits
        self.deadline = server.now + (
            limits.late_time if self.late else limits.head_time
        )
        self.interest = UNWATCHED
        self.held = 0
        self._tls = Channel(self.listener.tls) if self.listener.tls else None
        self._reader = Reader(limits.body)
        self._phase = HEAD
        self._asked: Request | None = None
        self._fresh = True
        self._keep_alive = False
        self._old = False
        self._unsent: bytes | memoryview = b""

    def handle(self) -> None:
        """Take what came along with the connection."""
        self._read()

    def stir(self, event: int) -> None:
        """Take what epoll found."""
        if self.state is READING:
            self._read()
        elif self.state is SENDING:
            self._send()
        elif self.state in (ANSWERING, SHAKING):
            self._note_gone(event)
        elif self.state is LINGERING and self._receive() == b"":
            self.finish()

    def _note_gone(self, event: int) -> None:
        """See whether who waits for an answer is still there."""
        if event & BROKEN:
            self.finish()
        elif event & GONE:
            gone = self._loop.now + self._loop.limits.gone_time
            self.deadline = min(self.deadline, gone)
            self._loop.watch(self, NOTHING)
        else:
            self._loop.watch(self, GONE)

    def go_on(self) -> None:
        """Take the request that came along with the one before."""
        if self.state is READING:
            self._advance()

    def _advance(self, data: bytes = b"") -> None:
        """Answer the next whole request, if there is one, with what has come."""
        message = self._reader.next(data)
        if message is None:
            self._await_more()
        else:
            self._ask(message)

    def reply(self, request: Request, response: Response) -> None:
        """Send the answer to `request`, if somebody still waits for it."""
        if self._asked is not request:
            return
        self._asked = None
        if self.held:
            self._loop.hold(self, 0)
        self._keep_alive = self._keep_alive and not self._loop.stopping
        option = self._connection_option()
        self._begin_sending(
            self._loop.encoder.encode(request, response, option, self._loop.now)
        )

    def turn_away(self) -> None:
        """Send the one answer that costs nothing."""
        self._keep_alive = False
        encoder = self._loop.encoder
        request = Request("", "", id=next(encoder.ids))
        full = failure(503, "too many connections", (("Retry-After", "1"),))
        self._begin_sending(encoder.encode(request, full, "close", self._loop.now))

    def check(self) -> None:
        """Act on the deadline; see to it that a peer going away is noticed."""
        if self.deadline <= self._loop.now:
            self.expire()
        elif self.state is ANSWERING and self.interest == UNWATCHED:
            self._loop.watch(self, GONE)

    def expire(self) -> None:
        """End what takes too long, with an answer where one is due."""
        if self.state is ANSWERING and self._asked:
            self.reply(self._asked, failure(503, "no answer in time"))
        elif self.state is not READING:
            self.finish()
        elif self.late:
            self.turn_away()
        elif self._reader.phase is IDLE:
            self.finish()
        else:
            self._ask(self._reader.refuse(Fault(408, "request took too long")))

    def wind_up(self) -> None:
        """Take a request that is there already, and close if there is none.

        Who has only just connected is about to ask, and gets a moment for it.
        """
        if self._is_idle():
            self._read()
        if self._is_idle() and self._fresh:
            soon = self._loop.now + self._loop.limits.late_time
            self.deadline = min(self.deadline, soon)
        elif self._is_idle():
            self.finish()

    def finish(self) -> None:
        """Close at once."""
        if self.state is not CLOSED:
            self.state = CLOSED
            self._asked = None
            self._loop.forget(self)
            self.request.close()

    def _is_idle(self) -> bool:
        return self.state is READING and self._reader.phase is IDLE

    def _read(self) -> None:
        data = self._receive()
        if data is None:
            self._loop.watch(self, READ)
        elif not data:
            self._end()
        elif self._tls is None:
            self._advance(data)
        elif self._tls.established:
            self._open(self._tls, data)
        else:
            self.state = SHAKING
            self._loop.shake(self, partial(self._tls.shake, data))

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
        if self.state is not SHAKING or self._tls is None:
            return
        self._push(self._tls.outgoing())
        if done.exception():
            self.finish()
            return
        self.state = READING
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
            self._advance(plain)
        elif tls.ended:
            self._end()
        else:
            self._await_more()

    def _end(self) -> None:
        """Answer the next of what came before the end, if anything is left."""
        message = self._reader.next() or self._reader.eof()
        if message is None:
            self.finish()
        else:
            self._ask(message)

    def _await_more(self) -> None:
        if not self._loop.hold(self, self._unread()):
            self._refuse_unfinished()
            return
        if self._reader.owes_continue():
            self._push(self._sealed(CONTINUE))
        self._note_phase()
        self._loop.watch(self, READ)

    def _unread(self) -> int:
        """Return how many bytes are kept of what is not whole yet."""
        return self._reader.held + (self._tls.unread if self._tls else 0)

    def give_way(self) -> None:
        """End an unfinished request, for the sake of others."""
        self._loop.hold(self, 0)
        self._refuse_unfinished()

    def _refuse_unfinished(self) -> None:
        self._ask(self._reader.refuse(Fault(503, "too many unfinished requests")))

    def _note_phase(self) -> None:
        if self._reader.phase is not self._phase and not self.late:
            self._begin_phase()

    def _begin_phase(self) -> None:
        """Give the peer the time that what it is to send now may take."""
        self._phase = phase = self._reader.phase
        self.deadline = self._loop.now + self._loop.limits.time_for(phase)

    def _ask(self, message: Message) -> None:
        head, body, fault = message
        if self.late and head.path not in self._loop.limits.always:
            self.turn_away()
            return
        self._fresh = False
        self._keep_alive = fault is None and not self.late and head.keep_alive
        self._old = head.minor == 0
        self._asked = request = Request(
            head.method,
            head.path,
            head.query,
            head.headers,
            body,
            self.peer or self.listener.name,
            self.listener.control,
            next(self._loop.encoder.ids),
            fault,
        )
        self.state = ANSWERING
        self.deadline = self._loop.now + self._loop.limits.answer_time
        self._loop.ask(self, request)

    def _connection_option(self) -> str:
        if not self._keep_alive:
            return "close"
        return "keep-alive" if self._old else ""

    def _begin_sending(self, data: bytes) -> None:
        self._unsent = self._sealed(data, last=not self._keep_alive)
        self.state = SENDING
        self.deadline = self._loop.now + self._loop.limits.send_time
        self._send()

    def _sealed(self, data: bytes, last: bool = False) -> bytes:
        if self._tls is None:
            return data
        return self._tls.seal(data, last) if self._tls.established else b""

    def _push(self, data: bytes | memoryview) -> int:
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
            self._unsent = memoryview(self._unsent)[sent:]
            self._loop.watch(self, WRITE)
        elif self._keep_alive:
            self._rest()
        elif self._reader.phase is IDLE and self._has_nothing():
            self.finish()
        else:
            self._linger()

    def _has_nothing(self) -> bool:
        """Tell whether nothing is unread; what was never watched was read just now."""
        return self.interest == UNWATCHED or not self._receive()

    def _rest(self) -> None:
        self.state = READING
        self._unsent = b""
        self._begin_phase()
        if self._phase is IDLE:
            self._loop.watch(self, READ)
        else:
            self._loop.line_up(self)

    def _linger(self) -> None:
        self.state = LINGERING
        self._unsent = b""
        linger_time = self._loop.limits.linger_time
        self.deadline = self._loop.now + (0.5 if self._loop.stopping else linger_time)
        try:
            self.request.shutdown(socket.SHUT_WR)
        except OSError:
            self.finish()
            return
        self._loop.watch(self, READ)
