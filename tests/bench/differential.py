"""Read mutated requests beside h11 (`pip install h11`): no two readings of one stream.

python3 tests/bench/differential.py [REQUESTS [SEED]]; 100,000 by default, about half a
minute. Ours may refuse what h11 takes. What ours takes, h11 must take too, and read the
same request out of the same bytes; else the stream is printed and the exit status is 1.
"""

import random
import re
import sys
from collections import Counter
from pathlib import Path

from gms_hookd.http.http1 import Reader

sys.path.insert(0, str(Path(__file__).parents[2]))


try:
    import h11
except ImportError:
    h11 = None

MAX_BODY = 1000
LARGEST = 1 << 20
BLANKS_BEFORE_EXTENSION = re.compile(rb"\n[0-9A-Fa-f]{1,8}[ \t]+;")
ABSOLUTE = re.compile(r"(?i)https?://[^/?]*")
HOST, END = b"Host: h\r\n", b"\r\n"
CANARY = b"GET /canary HTTP/1.1\r\nHost: h\r\n\r\n"
SEEDS = (
    b"POST /a HTTP/1.1\r\n%bContent-Length: 3\r\n\r\nabc",
    (
        b"POST /a?b=c HTTP/1.1\r\n%bTransfer-Encoding: chunked\r\n\r\n"
        b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nX-T: u\r\n\r\n"
    ),
    b"GET / HTTP/1.1\r\n%bConnection: keep-alive, close\r\n\r\n",
    b"GET /x HTTP/1.0\r\n%bConnection: keep-alive\r\n\r\n",
    b"PUT /y HTTP/1.1\r\n%bExpect: 100-continue\r\nContent-Length: 0\r\n\r\n",
    b"GET http://h/z HTTP/1.1\r\n%bX-A:  b \t\r\nX_B: c\r\nX-A: d\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\n%bX-Empty:\r\nContent-Length: 0005\r\n\r\n0\r\n\r\n",
)
FRAMING = re.compile(rb"(?i)chunked|keep-alive|close|[0-9a-f]+\r\n|: |, |;|HTTP/1\.")
TOKENS = (
    b"\r\n", b"\n", b"\r", b"\0", b" ", b"\t", b"\v", b"\f", b"\x1c", b"\x1f", b"\x7f",
    b"\x85", b"\xa0", b"\xad", b"\xb2", b"\xc2\xa0", b"\xe3\x80\x80", b"\xef\xbb\xbf",
    b":", b",", b";", b"0", b"+", b"-", b"_", b"x", b'"', b"close", b"chunked",
    b"identity", b"\r\n\r\n", b"Content-Length: 4\r\n", b"Host: i\r\n",
    b"Transfer-Encoding: chunked\r\n", b"Connection: close\r\n",
)  # fmt: skip


def mutant(rng):
    """Return up to three requests with a few faults, most of them where it frames."""
    parts = rng.choices(SEEDS, k=rng.randrange(1, 4))
    stream = bytearray(b"".join(part.replace(b"%b", HOST) for part in parts))
    for _ in range(rng.randrange(4)):
        at = _place(rng, stream)
        fault = rng.choice(TOKENS) if rng.random() < 0.8 else rng.randbytes(1)
        stream[at : at + rng.choice((0, 0, 0, 1, 1, 2))] = fault
    return bytes(stream) + CANARY


def _place(rng, stream):
    found = [at for each in FRAMING.finditer(stream) for at in each.span()]
    return (
        rng.choice(found)
        if found and rng.random() < 0.7
        else rng.randrange(len(stream))
    )


def ours(stream):
    """Yield what our reader takes, up to a refusal or a request that ends it all."""
    reader = Reader(MAX_BODY)
    message = reader.next(stream)
    while message is not None and message.fault is None:
        head = message.head
        query = "?" + head.query if head.query else ""
        request = head.method, head.path + query, dict(head.headers), message.body
        yield request, not head.keep_alive
        if not head.keep_alive:
            return
        message = reader.next()


def theirs(stream):
    """Return the first request as h11 reads it, whether it ends the rest, and that."""
    while stream.startswith(END):  # RFC 9112 2.2, which h11 leaves to others
        stream = stream[2:]
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=LARGEST)
    connection.receive_data(stream)
    request, body = connection.next_event(), b""
    if not isinstance(request, h11.Request):
        return None
    while not isinstance(event := connection.next_event(), h11.EndOfMessage):
        if not isinstance(event, h11.Data):
            return None
        body += event.data
    ends = connection.their_state is h11.MUST_CLOSE
    return (*_told(request), body), ends, connection.trailing_data[0]


def _told(request):
    headers = {}
    for raw, value in request.headers:
        name, text = raw.decode(), value.decode("latin-1")
        if "_" not in name:
            headers[name] = f"{headers[name]}, {text}" if name in headers else text
    target = ABSOLUTE.sub("", request.target.decode()) or "/"
    target = target if target[0] in "/*" else "/" + target
    return request.method.decode(), target.removesuffix("?"), headers


def disagreement(stream):
    """Return what ours takes and h11 does not, or reads otherwise; "" if nothing."""
    rest = stream
    for taken, last in ours(stream):
        try:
            found = theirs(rest)
        except h11.RemoteProtocolError as error:
            excused = "chunk header" in str(error) and BLANKS_BEFORE_EXTENSION.search(
                rest
            )
            return "" if excused else f"h11 refuses {taken}: {error}"
        if found is None:
            return f"h11 waits for more than {taken}"
        request, ends, rest = found
        if _lengths_alike(request) != _lengths_alike(taken):
            return f"ours {taken}, h11 {request}"
        if last and not ends:
            return f"h11 keeps the connection after {taken}"
        if ends:  # also after HTTP/1.0 with keep-alive, which h11 does not speak
            return ""
    return ""


def _lengths_alike(request):
    """h11 writes some values anew: the framing is in the body that was read."""
    method, target, headers, body = request
    return method, target, headers | {"transfer-encoding": ""}, body


def main(count=100_000, seed=0):
    """Run so many; return the exit status."""
    if h11 is None:
        print("skipped: there is no h11")
        return 0
    rng, taken, wrong = random.Random(seed), Counter(), 0
    for _ in range(count):
        stream = mutant(rng)
        taken[len(list(ours(stream)))] += 1
        if said := disagreement(stream):
            wrong += 1
            print(f"{stream!r}\n    {said}")
    told = ", ".join(f"{number} of {times}" for number, times in sorted(taken.items()))
    print(f"{count} streams beside h11 {h11.__version__}: {wrong} read in two ways")
    print(f"requests that ours took: {told}")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
