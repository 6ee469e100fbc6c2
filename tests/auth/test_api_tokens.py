"""Tokens: what a header opens."""

from base64 import b64encode

import pytest

from gms_hookd.auth.api_tokens import Rights, Tokens

TOKENS = Tokens(("write-new", "write-old"), ("read",))


def basic(text):
    return "Basic " + b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    ("header", "rights"),
    [
        ("Bearer write-new", Rights.WRITE),
        ("token write-old", Rights.WRITE),
        ("TOKEN  read", Rights.READ),
        ("bearer read", Rights.READ),
        (basic("prometheus:read"), Rights.READ),
        (basic(":read"), Rights.READ),
        (basic("me:write-new"), Rights.READ),
        (basic("read:"), Rights.NONE),
        (basic("read"), Rights.NONE),
        (basic("me:read:"), Rights.NONE),
        ("Basic read", Rights.NONE),
        ("Basic write-new", Rights.NONE),
        ("Digest read", Rights.NONE),
        ("read", Rights.NONE),
        ("Bearer read,", Rights.NONE),
        ("Bearer ", Rights.NONE),
        ("Bearer \u20ac", Rights.NONE),
        ("", Rights.NONE),
        (None, Rights.NONE),
    ],
)
def test_a_header_opens(header, rights):
    assert TOKENS.rights(header) is rights


@pytest.mark.parametrize("header", [None, "", "Bearer ", "token ", basic(":")])
def test_where_no_token_is_set_nothing_opens(header):
    assert Tokens().rights(header) is Rights.NONE
    assert Tokens().most is Rights.NONE


def test_the_mightiest_token_is_known_and_none_is_shown():
    assert TOKENS.most is Rights.WRITE
    assert Tokens((), ("read",)).most is Rights.READ
    assert "read" not in repr(TOKENS)
    assert "write" not in repr(TOKENS)
