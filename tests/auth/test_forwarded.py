"""Who stands behind our proxies."""

import tracemalloc

import pytest

from gms_hookd.auth.forwarded import client
from gms_hookd.auth.whitelist import Whitelist

PROXIES = Whitelist(["10.0.0.0/8", "::1"])


@pytest.mark.parametrize(
    ("peer", "forwarded", "wanted"),
    [
        ("192.0.2.1", None, "192.0.2.1"),
        ("::ffff:192.0.2.1", None, "192.0.2.1"),
        ("192.0.2.1", "198.51.100.7", "192.0.2.1"),
        ("10.0.0.1", "198.51.100.7", "198.51.100.7"),
        ("::ffff:10.0.0.1", "198.51.100.7", "198.51.100.7"),
        ("10.0.0.1", "203.0.113.9, 198.51.100.7", "198.51.100.7"),
        ("10.0.0.1", "198.51.100.7, 10.0.0.2", "198.51.100.7"),
        ("10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3"),
        ("10.0.0.1", "198.51.100.7, junk, 10.0.0.2", "10.0.0.2"),
        ("10.0.0.1", "junk", "10.0.0.1"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "198.51.100.7:4711", "198.51.100.7"),
        ("10.0.0.1", "[2001:db8::1]:4711", "2001:db8::1"),
        ("10.0.0.1", "2001:db8::1", "2001:db8::1"),
        ("10.0.0.1", "::ffff:198.51.100.7", "198.51.100.7"),
        ("10.0.0.1", ",".join(["10.0.0.2"] * 40 + ["10.0.0.3"]), "10.0.0.2"),
    ],
)
def test_whose_request_it_is(peer, forwarded, wanted):
    assert client(peer, forwarded, PROXIES) == wanted


@pytest.mark.parametrize(
    ("trusted", "forwarded", "wanted"),
    [
        (["unix"], "198.51.100.7", "198.51.100.7"),
        (["unix:/run/front.sock"], "198.51.100.7", "198.51.100.7"),
        (["unix", "10.0.0.0/8"], "198.51.100.7, 10.0.0.1", "198.51.100.7"),
        (["unix"], None, "unix:/run/front.sock"),
        (["unix"], "unix", "unix:/run/front.sock"),
        (["unix"], "junk", "unix:/run/front.sock"),
        (["unix:/run/other.sock"], "198.51.100.7", "unix:/run/front.sock"),
        (["10.0.0.0/8"], "198.51.100.7", "unix:/run/front.sock"),
        ([], "198.51.100.7", "unix:/run/front.sock"),
    ],
)
def test_who_is_behind_a_proxy_on_a_unix_socket(trusted, forwarded, wanted):
    assert client("unix:/run/front.sock", forwarded, Whitelist(trusted)) == wanted


def test_without_trusted_proxies_nobody_is_believed():
    assert client("10.0.0.1", "198.51.100.7", Whitelist([])) == "10.0.0.1"


@pytest.mark.parametrize("hop", ["junk{}", "198.51.100.7%{}", "2001:db8::1%{}"])
def test_nothing_of_long_hops_is_kept(hop):
    tracemalloc.start()
    try:
        for number in range(4096):
            client("10.0.0.1", hop.format(f"{number:08000}"), PROXIES)
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 1 << 20


@pytest.mark.parametrize("text", ["198.51.100.7%{}", "{}"])
def test_overlong_text_is_no_address(text):
    long = text.format("0" * 100)
    assert client("10.0.0.1", long, PROXIES) == "10.0.0.1"
    assert not Whitelist(["0.0.0.0/0"]).covers(long)
