"""Addresses and networks: v4, v6, v4-mapped."""

import pytest

from gms_hookd.auth.whitelist import Whitelist, network


@pytest.mark.parametrize(
    ("entries", "address", "admitted"),
    [
        ([], "192.0.2.1", True),
        (["192.0.2.1"], "192.0.2.1", True),
        (["192.0.2.1"], "192.0.2.2", False),
        (["192.168.1.0/24"], "192.168.1.7", True),
        (["192.168.1.0/24"], "::ffff:192.168.1.7", True),
        (["192.168.1.0/24"], "192.168.2.7", False),
        (["192.168.1.9/24"], "192.168.1.7", True),
        (["::ffff:192.168.1.0/120"], "192.168.1.7", True),
        (["::ffff:192.168.1.0/120"], "192.168.2.7", False),
        (["2001:db8::/32"], "2001:db8::1", True),
        (["2001:db8::/32"], "2001:db9::1", False),
        (["fe80::/10"], "fe80::1%eth0", True),
        (["::1"], "127.0.0.1", False),
        (["0.0.0.0/0"], "2001:db8::1", False),
        (["0.0.0.0/0"], "not an address", False),
        (["unix"], "unix", True),
        (["unix"], "unix:/run/front.sock", True),
        (["unix:/run/front.sock"], "unix:/run/front.sock", True),
        (["unix:/run/front.sock"], "unix:/run/other.sock", False),
        (["unix:/run/front.sock"], "unix", False),
        (["unix"], "192.0.2.1", False),
        (["192.0.2.1"], "unix:/run/front.sock", False),
        (["0.0.0.0/0", "::/0"], "unix", False),
    ],
)
def test_who_is_admitted(entries, address, admitted):
    assert Whitelist(entries).admits(address) is admitted


@pytest.mark.parametrize(
    "entry", ["", "localhost", "unix", "unix:/a", "192.168.1.0/33", "1.2.3", "::/129"]
)
def test_what_is_no_network_is_refused(entry):
    with pytest.raises(ValueError, match=r".+"):
        network(entry)
