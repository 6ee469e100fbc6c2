"""TLS without a socket: bytes off the wire in, plain text out, and the other way."""

import os
import ssl
from contextlib import suppress
from datetime import datetime
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


def valid_until(certificate: Path) -> float:
    """Return when the first certificate of a PEM file ends, as Unix time.

    Raises OSError, ValueError. The standard library decodes certificates of peers only;
    this goes to the second time of `validity` (RFC 5280, 4.1).
    """
    pem = certificate.read_text("ascii", "replace")
    begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
    _, found, rest = pem.partition(begin)
    if not found:
        raise ValueError("holds no certificate")
    der = ssl.PEM_cert_to_DER_cert(f"{begin}{rest.partition(end)[0]}{end}")
    tbs = _parts(_parts(der)[0][1])[0][1]
    fields = [part for part in _parts(tbs) if part[0] != 0xA0]  # but the version
    kind, moment = _parts(fields[3][1])[1]
    return _moment(kind, moment.decode("ascii"))


def knows_authorities() -> bool:
    """Return whether this machine has certificates of authorities at all."""
    paths = ssl.get_default_verify_paths()
    return any(map(os.path.exists, filter(None, (paths.cafile, paths.capath))))


def no_authority(file: Path) -> str:
    """Return why a file cannot be used as one of authorities, "" if it can."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(file)
    except ssl.SSLError:
        return "holds no certificate"
    except OSError as error:
        return error.strerror or str(error)
    return ""


def _moment(kind: int, text: str) -> float:
    """Read UTCTime (0x17), whose years are 1950 to 2049, or GeneralizedTime."""
    century = "" if kind != 0x17 else ("19" if text >= "50" else "20")
    zoned = f"{century}{text.removesuffix('Z')}+0000"
    return datetime.strptime(zoned, "%Y%m%d%H%M%S%z").timestamp()


def _parts(der: bytes) -> list[tuple[int, bytes]]:
    """Split DER into its parts, each a tag and its content (X.690, 8.1)."""
    found = []
    while der:
        tag, length, start = der[0], der[1], 2
        if length & 0x80:
            start += length & 0x7F
            length = int.from_bytes(der[2:start])
        found.append((tag, der[start : start + length]))
        der = der[start + length :]
    return found


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
