"""The reader of requests: what is taken, what is refused, however it is cut up."""

import pytest

from gms_hookd.http1 import Reader

MAX_BODY = 1000


def messages(*pieces):
    reader = Reader(MAX_BODY)
    found = []
    for piece in pieces:
        reader.feed(piece)
        while (message := reader.next()) is not None:
            found.append(message)
    return found


def test_a_request_is_read_with_names_in_lower_case():
    (message,) = messages(
        b"POST /a?b=1 HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi"
    )
    head, body, fault = message
    assert (head.method, head.path, head.query) == ("POST", "/a", "b=1")
    assert head.headers == {"host": "h", "content-length": "2"}
    assert (body, fault) == (b"hi", None)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 50])
def test_a_chunked_body_is_put_together(size):
    stream = (
        b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nTrailer: t\r\n\r\n"
        b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
    )
    first, second = messages(
        *(stream[i : i + size] for i in range(0, len(stream), size))
    )
    assert first.body == b"abcde"
    assert second.head.method == "GET"
