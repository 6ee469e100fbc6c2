"""TLS without a socket: bytes off the wire in, plain text out, and the other way."""

import ssl
from contextlib import suppress
from pathlib import Path

PIECE = 64 * 1024
Context = ssl.SSLContext
TlsError = ssl.SSLError


def context(certificate: Path, key: Path) -> Context:
    """Read a server's certificate chain and key; TLS 1.2 at least.

    Raises OSError (ssl.SSLError is one): a file is missing or does not fit.
    """
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    made.options |= ssl.OP_NO_RENEGOTIATION
    made.set_alpn_protocols(["http/1.1"])
    # Without a password of ours OpenSSL would ask the terminal for one and wait.
    made.load_cert_chain(certificate, key, password="")
    return made


class Channel:
    """The server's end of one TLS connection.

    Every method may leave bytes for the peer: take them with `outgoing` and send them.
    """

    def __init__(self, made: Context) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = made.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self.established = False
        self.ended = False

    @property
    def unread(self) -> int:
        """Bytes that wait for the rest of their record."""
        return self._incoming.pending

    def shake(self, data: bytes) -> None:
        """Go on with the handshake; costs a signature, so not for a busy thread.

        Raises ssl.SSLError: the peer and we do not agree.
        """
        self._incoming.write(data)
        with suppress(ssl.SSLWantReadError):
            self._tls.do_handshake()
            self.established = True

    def open(self, data: bytes) -> bytes:
        """Return the plain text; `ended` is set when the peer has said goodbye.

        Raises ssl.SSLError: the bytes are no TLS.
        """
        self._incoming.write(data)
        plain = []
        with suppress(ssl.SSLWantReadError):
            while piece := self._tls.read(PIECE):
                plain.append(piece)
            self.ended = True
        return b"".join(plain)

    def seal(self, data: bytes, last: bool) -> bytes:
        """Return `data` as it goes over the wire, with a goodbye if it is the last."""
        self._tls.write(data)
        if last:
            with suppress(ssl.SSLError):  # it waits for the peer's goodbye; we do not
                self._tls.unwrap()
        return self.outgoing()

    def outgoing(self) -> bytes:
        """Return what is to be sent now."""
        return self._outgoing.read()
