"""The reader of requests: what is taken, what is refused, however it is cut up."""

import os
import random
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from gms_hookd.http.http1 import (
    MAX_CHUNK_LINE,
    MAX_CHUNKS,
    MAX_HEAD,
    MAX_LINE,
    MAX_TRAILER,
    Phase,
    Reader,
    serialise,
)
from gms_hookd.http.message import Response

MAX_BODY = 1000
CANARY = b"GET /canary HTTP/1.1\r\nHost: h\r\n\r\n"
DATE = "Sun, 06 Nov 1994 08:49:37 GMT"


def messages(*pieces, max_body=MAX_BODY):
    """Feed pieces; return (method, target, headers, body, fault) of each message."""
    reader = Reader(max_body)
    found = []
    for piece in pieces:
        message = reader.next(piece)
        while message is not None:
            found.append(message)
            message = reader.next()
    return found


def bytewise(stream):
    return [stream[i : i + 1] for i in range(len(stream))]


def head(*lines, line=b"POST /hook HTTP/1.1"):
    return b"\r\n".join([line, *lines, b"", b""])


def chunked(body):
    return head(b"Host: h", b"Transfer-Encoding: chunked") + body


def with_field(field):
    return head(b"Host: h", b"Content-Length: 3", field) + b"abc"


def with_line(line):
    return head(b"Host: h", line=line)


REFUSED = {
    # Two readings of one length: the ways to smuggle a request
    "two lengths": (with_field(b"Content-Length: 4"), 400),
    "two equal lengths": (with_field(b"Content-Length: 3"), 400),
    "length with sign": (head(b"Host: h", b"Content-Length: +3") + b"abc", 400),
    "length with underscore": (head(b"Host: h", b"Content-Length: 0_3") + b"abc", 400),
    "length in full width": (
        head(b"Host: h", b"Content-Length: \xef\xbc\x93") + b"abc",
        400,
    ),
    "length as superscript": (head(b"Host: h", b"Content-Length: \xb3") + b"abc", 400),
    "negative length": (head(b"Host: h", b"Content-Length: -1") + b"abc", 400),
    "length as list": (head(b"Host: h", b"Content-Length: 3,3") + b"abc", 400),
    "length in hex": (head(b"Host: h", b"Content-Length: 0x3") + b"abc", 400),
    "length with fraction": (head(b"Host: h", b"Content-Length: 3.0") + b"abc", 400),
    "empty length": (head(b"Host: h", b"Content-Length:") + b"abc", 400),
    "space before colon": (head(b"Host: h", b"Content-Length : 3") + b"abc", 400),
    "tab before colon": (head(b"Host: h", b"Content-Length\t: 3") + b"abc", 400),
    "length and chunked": (with_field(b"Transfer-Encoding: chunked"), 400),
    "chunked twice": (
        head(b"Host: h", *[b"Transfer-Encoding: chunked"] * 2) + b"0\r\n\r\n",
        400,
    ),
    "chunked and chunked": (
        head(b"Host: h", b"Transfer-Encoding: chunked, chunked") + b"0\r\n\r\n",
        501,
    ),
    "gzip": (head(b"Host: h", b"Transfer-Encoding: gzip"), 400),
    "gzip then chunked": (head(b"Host: h", b"Transfer-Encoding: gzip, chunked"), 501),
    "chunked then gzip": (head(b"Host: h", b"Transfer-Encoding: chunked, gzip"), 400),
    "xchunked": (head(b"Host: h", b"Transfer-Encoding: xchunked"), 400),
    "chunked in quotes": (head(b"Host: h", b'Transfer-Encoding: "chunked"'), 400),
    "chunked with vertical tab": (
        head(b"Host: h", b"Transfer-Encoding:\vchunked"),
        400,
    ),
    **{
        f"chunked beside {blank}": (
            head(b"Host: h", b"Transfer-Encoding: " + coding),
            400,
        )
        for blank in (b"\xa0", b"\x85", b"\xc2\xa0", b"\xe3\x80\x80", b"\xad")
        for coding in (blank + b"chunked", b"chunked" + blank)
    },
    "length after a no-break space": (
        head(b"Host: h", b"Content-Length: \xa03") + b"abc",
        400,
    ),
    "expectation after a no-break space": (
        with_field(b"Expect: \xa0100-continue"),
        417,
    ),
    "identity": (head(b"Host: h", b"Transfer-Encoding: identity"), 400),
    "empty coding": (head(b"Host: h", b"Transfer-Encoding:"), 400),
    "chunked in 1.0": (
        head(b"Transfer-Encoding: chunked", line=b"POST / HTTP/1.0") + b"0\r\n\r\n",
        400,
    ),
    "no length": (head(b"Host: h"), 411),
    "no length in 1.0": (head(line=b"POST / HTTP/1.0"), 411),
    "length over the limit": (head(b"Host: h", b"Content-Length: 1001"), 413),
    "length far over the limit": (head(b"Host: h", b"Content-Length: 9999999999"), 413),
    "length of 12 digits": (head(b"Host: h", b"Content-Length: 999999999999"), 413),
    "length of 5000 digits": (head(b"Host: h", b"Content-Length: " + b"9" * 5000), 413),
    # Lines
    "line without colon": (with_field(b"X-Hub-Signature-256"), 400),
    "bare CR": (with_field(b"X-A: b\rContent-Length: 4"), 400),
    "bare LF in a field": (with_field(b"X-A: b\nContent-Length: 4"), 400),
    "bare LF throughout": (b"POST / HTTP/1.1\nHost: h\nContent-Length: 3\n\nabc", 400),
    "bare LF after the request line": (b"GET / HTTP/1.1\nHost: h\r\n\r\n", 400),
    "bare LF as the last line": (b"GET / HTTP/1.1\r\nHost: h\r\n\n", 400),
    "CR CR LF": (with_field(b"X-A: b\r"), 400),
    "folded line": (with_field(b"X-A: b\r\n c"), 400),
    "folded line with tab": (with_field(b"X-A: b\r\n\tContent-Length: 4"), 400),
    "first field folded": (head(b" Host: h", line=b"GET / HTTP/1.1"), 400),
    "empty name": (with_field(b": x"), 400),
    "name with space": (with_field(b"X A: x"), 400),
    "name in UTF-8": (with_field("Überschrift: x".encode()), 400),
    "name with NUL": (with_field(b"X\0A: x"), 400),
    "value with NUL": (with_field(b"X-A: b\0c"), 400),
    "value with escape": (with_field(b"X-A: \x1b[2J"), 400),
    "value with DEL": (with_field(b"X-A: \x7f"), 400),
    "too many fields": (with_field(b"\r\n".join([b"X-A: b"] * 100)), 431),
    "one field too large": (with_field(b"X-A: " + b"b" * MAX_HEAD), 431),
    # Request line
    "HTTP/0.9": (with_line(b"GET /x"), 400),
    "HTTP/0.9 named": (with_line(b"GET /x HTTP/0.9"), 505),
    "HTTP/1.9": (with_line(b"GET /x HTTP/1.9"), 505),
    "HTTP/1.10": (with_line(b"GET /x HTTP/1.10"), 400),
    "HTTP/2": (with_line(b"PRI * HTTP/2.0"), 505),
    "lower-case version": (with_line(b"GET /x http/1.1"), 400),
    "no version number": (with_line(b"GET /x HTTP/"), 400),
    "space at the end": (with_line(b"GET /x HTTP/1.1 "), 400),
    "two spaces": (with_line(b"GET  /x HTTP/1.1"), 400),
    "space in the target": (with_line(b"GET /x y HTTP/1.1"), 400),
    "tab": (with_line(b"GET\t/x\tHTTP/1.1"), 400),
    "file separator": (with_line(b"GET\x1c/x HTTP/1.1"), 400),
    "no-break space": (with_line(b"GET\xa0/x HTTP/1.1"), 400),
    "lower-case method": (with_line(b"get /x HTTP/1.1"), 400),
    "method too long": (with_line(b"ABCDEFGHIJKLMNOPQ /x HTTP/1.1"), 400),
    "space first": (with_line(b" GET /x HTTP/1.1"), 400),
    "raw UTF-8 in the target": (with_line("GET /ü HTTP/1.1".encode()), 400),
    "NUL in the target": (with_line(b"GET /\0 HTTP/1.1"), 400),
    "fragment": (with_line(b"GET /x#y HTTP/1.1"), 400),
    "authority form": (with_line(b"CONNECT h:80 HTTP/1.1"), 400),
    "relative path": (with_line(b"GET x HTTP/1.1"), 400),
    "asterisk": (with_line(b"GET * HTTP/1.1"), 400),
    "absolute form of another host": (with_line(b"GET http://evil/x HTTP/1.1"), 400),
    "absolute form of another scheme": (with_line(b"GET ftp://h/x HTTP/1.1"), 400),
    "absolute form with user": (with_line(b"GET http://u@h/x HTTP/1.1"), 400),
    "line too long": (with_line(b"GET /" + b"x" * MAX_LINE + b" HTTP/1.1"), 414),
    "TLS hello": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
    "CR first": (b"\rGET / HTTP/1.1\r\nHost: h\r\n\r\n", 400),
    # Fields with a meaning
    "no host": (head(b"X-A: b", line=b"GET / HTTP/1.1"), 400),
    "two hosts": (head(b"Host: h", b"Host: h", line=b"GET / HTTP/1.1"), 400),
    "two hosts in 1.0": (head(b"Host: h", b"Host: i", line=b"GET / HTTP/1.0"), 400),
    "host with path": (head(b"Host: h/x", line=b"GET / HTTP/1.1"), 400),
    "host with user": (head(b"Host: u@h", line=b"GET / HTTP/1.1"), 400),
    "host as list": (head(b"Host: h, i", line=b"GET / HTTP/1.1"), 400),
    "unknown expectation": (with_field(b"Expect: 200-ok"), 417),
    "two expectations": (with_field(b"Expect: 100-continue, 200-ok"), 417),
    # Chunks
    "chunk size empty": (chunked(b"\r\n\r\n"), 400),
    "chunk size no hex": (chunked(b"g\r\n\r\n"), 400),
    "chunk size with 0x": (chunked(b"0x3\r\nabc\r\n0\r\n\r\n"), 400),
    "chunk size with sign": (chunked(b"+3\r\nabc\r\n0\r\n\r\n"), 400),
    "chunk size negative": (chunked(b"-1\r\nabc\r\n0\r\n\r\n"), 400),
    "chunk size with underscore": (chunked(b"0_3\r\nabc\r\n0\r\n\r\n"), 400),
    "chunk size after space": (chunked(b" 3\r\nabc\r\n0\r\n\r\n"), 400),
    "chunk size before space": (chunked(b"3 \r\nabc\r\n0\r\n\r\n"), 400),
    "chunk size of nine digits": (chunked(b"000000003\r\nabc\r\n0\r\n\r\n"), 400),
    "chunk size with bare LF": (chunked(b"3\nabc\r\n0\r\n\r\n"), 400),
    "chunk size with CR CR LF": (chunked(b"3\r\r\nabc\r\n0\r\n\r\n"), 400),
    "chunk extension with bare CR": (chunked(b"3;a\rb\r\nabc\r\n0\r\n\r\n"), 400),
    "chunk extension with bare LF": (chunked(b"3;a\nabc\r\n0\r\n\r\n"), 400),
    "chunk extension too long": (
        chunked(b"3;" + b"a" * MAX_CHUNK_LINE + b"\r\nabc\r\n0\r\n\r\n"),
        400,
    ),
    "chunk longer than its size": (chunked(b"3\r\nabcd\r\n0\r\n\r\n"), 400),
    "chunk shorter than its size": (chunked(b"4\r\nabc\r\n0\r\n\r\n"), 400),
    "chunk ended by bare LF": (chunked(b"3\r\nabc\n0\r\n\r\n"), 400),
    "chunks over the limit": (chunked(b"3e8\r\n" + b"a" * 1000 + b"\r\n1\r\n"), 413),
    "chunk over the limit": (chunked(b"ffffffff\r\n"), 413),
    "trailer malformed": (chunked(b"0\r\nX A: b\r\n\r\n"), 400),
    "trailer that frames": (chunked(b"0\r\nContent-Length: 9\r\n\r\n"), 400),
    "trailer with a coding": (chunked(b"0\r\ntransfer-encoding: x\r\n\r\n"), 400),
    "trailer folded": (chunked(b"0\r\nX: b\r\n c\r\n\r\n"), 400),
    "trailer with bare LF": (chunked(b"0\r\nX: b\n\r\n"), 400),
    "trailer too long": (chunked(b"0\r\nX: " + b"a" * MAX_TRAILER + b"\r\n\r\n"), 400),
    "trailers too many": (chunked(b"0\r\n" + b"X: b\r\n" * MAX_TRAILER), 431),
}


@pytest.mark.parametrize(("stream", "status"), REFUSED.values(), ids=REFUSED.keys())
def test_what_can_be_read_in_two_ways_is_refused_and_ends_the_stream(stream, status):
    found = messages(stream + CANARY)
    assert [message.fault and message.fault.status for message in found] == [status]
    assert found[0].body == b""


@pytest.mark.parametrize("stream", [s for s, _ in REFUSED.values()], ids=REFUSED.keys())
def test_the_refusal_is_the_same_byte_by_byte(stream):
    assert messages(*bytewise(stream + CANARY)) == messages(stream + CANARY)


TAKEN = {
    "length": (head(b"Host: h", b"Content-Length: 3") + b"abc", b"abc"),
    "length with zeros": (head(b"Host: h", b"Content-Length: 0003") + b"abc", b"abc"),
    "length in blanks": (head(b"Host: h", b"Content-Length: \t 3 \t") + b"abc", b"abc"),
    "length of nothing": (head(b"Host: h", b"Content-Length: 0"), b""),
    "length at the limit": (
        head(b"Host: h", b"Content-Length: 1000") + b"a" * 1000,
        b"a" * 1000,
    ),
    "GET with a body": (
        head(b"Host: h", b"Content-Length: 3", line=b"GET / HTTP/1.1") + b"abc",
        b"abc",
    ),
    "GET without host in 1.0": (head(line=b"GET / HTTP/1.0"), b""),
    "chunks": (chunked(b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"), b"abcde"),
    "chunk sizes in hex": (chunked(b"00A\r\n0123456789\r\n0\r\n\r\n"), b"0123456789"),
    "chunk extensions": (chunked(b'3;a="b";c\r\nabc\r\n0 ;d\r\n\r\n'), b"abc"),
    "trailers": (chunked(b"1\r\na\r\n0\r\nX: y\r\nX-Length: 9\r\n\r\n"), b"a"),
    "chunks at the limit": (
        chunked(b"3e8\r\n" + b"a" * 1000 + b"\r\n0\r\n\r\n"),
        b"a" * 1000,
    ),
    "Chunked": (
        head(b"Host: h", b"Transfer-Encoding: Chunked \t") + b"0\r\n\r\n",
        b"",
    ),
    "empty lines first": (b"\r\n\r\n" + with_line(b"GET / HTTP/1.1"), b""),
    "expectation": (with_field(b"expect: 100-Continue"), b"abc"),
    "other expectation in 1.0": (
        head(b"Expect: 200-ok", line=b"GET / HTTP/1.0"),
        b"",
    ),
    "line at the limit": (
        with_line(b"GET /" + b"x" * (MAX_LINE - 14) + b" HTTP/1.1"),
        b"",
    ),
    "fields at the limit": (with_field(b"\r\n".join([b"X-A: b"] * 98)), b"abc"),
    "value in Latin-1": (with_field(b"X-A: \xe9\xff"), b"abc"),
}


@pytest.mark.parametrize(("stream", "body"), TAKEN.values(), ids=TAKEN.keys())
def test_what_is_clear_is_taken_and_the_next_request_begins_after_it(stream, body):
    first, second = messages(stream + CANARY)
    assert (first.fault, first.body) == (None, body)
    assert (second.fault, second.head.path) == (None, "/canary")
    assert messages(*bytewise(stream + CANARY)) == [first, second]


def test_the_parts_of_a_request_are_told_apart():
    (message,) = messages(
        b"GET /a/%2e%2e//b?c=d?e HTTP/1.1\r\nHoST: H\r\nX-A:  b \t\r\nX-Empty:\r\n\r\n"
    )
    assert message.head.method == "GET"
    assert message.head.path == "/a/%2e%2e//b"
    assert message.head.query == "c=d?e"
    assert message.head.headers == {"host": "H", "x-a": "b", "x-empty": ""}


def test_a_repeated_field_is_one_list():
    (message,) = messages(
        head(b"Host: h", b"X-A: 1", b"x-a: 2", line=b"GET / HTTP/1.1")
    )
    assert message.head.headers["x-a"] == "1, 2"


def test_a_name_with_an_underscore_is_left_out():
    (message,) = messages(with_field(b"X_Hub_Signature: x\r\nContent_Length: 9"))
    assert list(message.head.headers) == ["host", "content-length"]


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        (b"http://h/x?y", "/x", "y"),
        (b"HTTPS://H", "/", ""),
        (b"http://h?y", "/", "y"),
    ],
)
def test_the_absolute_form_of_our_own_host_is_a_path(target, path, query):
    (message,) = messages(with_line(b"GET " + target + b" HTTP/1.1"))
    assert (message.head.path, message.head.query) == (path, query)


def test_options_of_the_server_are_asked_with_an_asterisk():
    (message,) = messages(with_line(b"OPTIONS * HTTP/1.1"))
    assert message.head.path == "*"


@pytest.mark.parametrize(
    ("version", "field", "kept"),
    [
        (b"1.1", b"X-A: b", True),
        (b"1.1", b"Connection: close", False),
        (b"1.1", b"Connection: Close, X-Foo", False),
        (b"1.1", b"Connection: X-Foo\r\nConnection: close", False),
        (b"1.1", b"Connection: close-not", True),
        (b"1.1", b"Connection: \t close ,X-Foo", False),
        (b"1.1", b"Connection: close\xa0", True),
        (b"1.1", b"Connection: X-Foo,\x85close", True),
        (b"1.0", b"Connection: \xa0keep-alive", False),
        (b"1.0", b"X-A: b", False),
        (b"1.0", b"Connection: Keep-Alive", True),
        (b"1.0", b"Connection: keep-alive, close", False),
    ],
)
def test_the_connection_is_kept_as_the_peer_wants(version, field, kept):
    (message,) = messages(head(b"Host: h", field, line=b"GET / HTTP/" + version))
    assert message.head.keep_alive is kept


def test_a_refusal_tells_what_was_understood_of_the_head():
    (message,) = messages(head(b"Host: h", b"X-Id: 7"))
    assert message.fault.status == 411
    assert (message.head.path, message.head.headers["x-id"]) == ("/hook", "7")


def test_a_refused_head_tells_its_request_line_however_it_came():
    stream = head(b"Host: h", b"X-A: b\nc")
    (message,) = messages(stream)
    assert (message.head.method, message.head.path) == ("POST", "/hook")
    assert messages(*bytewise(stream)) == [message]


def test_continue_is_owed_once_and_only_for_a_body_that_will_be_taken():
    expectation = head(b"Host: h", b"Content-Length: 3", b"Expect: 100-continue")
    reader = Reader(MAX_BODY)
    assert reader.next(expectation) is None
    assert [reader.owes_continue(), reader.owes_continue()] == [True, False]
    reader = Reader(2)
    assert reader.next(expectation).fault.status == 413
    assert not reader.owes_continue()


def test_continue_is_not_owed_when_the_body_is_there():
    reader = Reader(MAX_BODY)
    assert reader.next(with_field(b"Expect: 100-continue")).body == b"abc"
    assert not reader.owes_continue()


@pytest.mark.parametrize(
    ("stream", "phase", "status"),
    [
        (b"", Phase.IDLE, None),
        (b"GET / HTTP/1.1\r\nHost: h\r\n", Phase.HEAD, None),
        (with_field(b"X-A: b")[:-1], Phase.BODY, 400),
        (chunked(b"3\r\nabc\r\n"), Phase.BODY, 400),
        (head(), Phase.DEAD, None),
    ],
)
def test_the_end_of_the_stream_is_a_fault_within_a_body_only(stream, phase, status):
    reader = Reader(MAX_BODY)
    reader.next(stream)
    assert reader.phase is phase
    message = reader.eof()
    assert (message and message.fault.status) == status


def test_the_number_of_chunks_is_limited():
    stream = chunked(b"1\r\na\r\n" * (MAX_CHUNKS + 1))
    (message,) = messages(stream, max_body=MAX_CHUNKS * 2)
    assert message.fault.status == 413


def test_memory_held_is_what_arrived():
    reader = Reader(MAX_BODY)
    reader.next(chunked(b"64\r\n" + b"a" * 50))
    assert reader.held == 50


def mutated(rng):
    """Return a stream of requests with a few faults at random places."""
    streams = [stream for stream, _ in [*REFUSED.values(), *TAKEN.values()]]
    stream = bytearray(b"".join(rng.choices(streams, k=3))[:3000])
    tokens = [b"\r\n", b"\n", b"\r", b"\0", b" ", b":", b"0", b"\xff", b"\r\n\r\n"]
    for _ in range(rng.randrange(4)):
        at = rng.randrange(len(stream))
        stream[at : at + rng.randrange(3)] = rng.choice(tokens)
    return bytes(stream) + CANARY


@pytest.mark.skipif(not find_spec("h11"), reason="needs h11")
def test_nothing_is_taken_that_another_reader_reads_otherwise():
    beside = Path(__file__).parents[2] / "bench" / "differential.py"
    command = (sys.executable, str(beside), os.environ.get("MUTANTS", "1000"))
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:]


def pieces(rng, stream):
    while stream:
        size = rng.choice([1, 2, 5, 40, 700])
        yield stream[:size]
        stream = stream[size:]


@pytest.mark.parametrize("seed", range(20))
def test_any_stream_reads_the_same_in_any_pieces(seed):
    rng = random.Random(seed)
    for _ in range(100):
        stream = mutated(rng)
        whole = messages(stream)
        assert messages(*pieces(rng, stream)) == whole
        assert all(message.fault is None for message in whole[:-1])


@pytest.mark.parametrize("seed", range(5))
def test_noise_is_refused_or_unfinished(seed):
    rng = random.Random(seed)
    for _ in range(200):
        found = messages(rng.randbytes(rng.randrange(1, 200)))
        assert [m.fault.status for m in found] in ([], [400])


def test_a_response_is_one_run_of_bytes():
    response = Response(200, b"hi", (("X-A", "b"),))
    assert serialise(response, DATE, "7", "close") == (
        b"HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
        b"Server: gms-hookd\r\nX-Request-Id: 7\r\nX-A: b\r\nConnection: close\r\n"
        b"Content-Type: application/json\r\nContent-Length: 2\r\n\r\nhi"
    )


def test_a_response_without_content_has_no_length():
    assert b"Content-" not in serialise(Response(204), DATE, "7")
    assert serialise(Response(204), DATE, "7").endswith(b"Id: 7\r\n\r\n")


def test_a_response_to_a_head_request_has_all_but_the_content():
    get = serialise(Response(200, b"hi"), DATE, "7")
    assert serialise(Response(200, b"hi"), DATE, "7", body=False) == get[:-2]


@pytest.mark.parametrize("value", ["a\r\nb", "a\nb", "a\rb", "a\0b", "ü\u2028€"])
def test_a_response_header_is_one_line_of_latin_1(value):
    with pytest.raises(ValueError, match=r"header|encode"):
        serialise(Response(200, b"", (("X-A", value),)), DATE, "7")
