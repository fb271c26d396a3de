"""Where a request came from, and who counts as one guesser."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from personal_auth.addresses import client_address, network, one_guesser

PROXY = "172.17.0.1"
TRUSTED = [network("172.16.0.0/12"), network("fd00::/8"), network("2001:db8:ffff::1")]


@pytest.mark.parametrize(
    ("peer", "forwarded", "came_from"),
    [
        # From anybody else the header is a claim
        ("203.0.113.9", [], "203.0.113.9"),
        ("203.0.113.9", ["198.51.100.1"], "203.0.113.9"),
        ("203.0.113.9", [PROXY], "203.0.113.9"),
        ("", ["198.51.100.1"], ""),
        ("unix:", ["198.51.100.1"], "unix:"),
        # From a proxy it names who spoke to the proxy
        (PROXY, [], PROXY),
        (PROXY, ["203.0.113.9"], "203.0.113.9"),
        (PROXY, [" 203.0.113.9 "], "203.0.113.9"),
        ("fd00::1", ["2001:db8::9"], "2001:db8::9"),
        ("2001:db8:ffff::1", ["2001:db8::9"], "2001:db8::9"),
        ("::ffff:172.17.0.1", ["203.0.113.9"], "203.0.113.9"),
        # What the client wrote before that is a claim
        (PROXY, ["198.51.100.1, 203.0.113.9"], "203.0.113.9"),
        (PROXY, ["172.17.0.1, 203.0.113.9"], "203.0.113.9"),
        (PROXY, ["198.51.100.1", "203.0.113.9"], "203.0.113.9"),
        (PROXY, ["x, , 203.0.113.9"], "203.0.113.9"),
        # Several proxies of ours
        (PROXY, ["203.0.113.9, 172.18.0.7"], "203.0.113.9"),
        (PROXY, ["198.51.100.1, 203.0.113.9, 172.18.0.7, fd00::7"], "203.0.113.9"),
        (PROXY, ["198.51.100.1, 203.0.113.9", "172.18.0.7", "::ffff:172.18.0.8"], "203.0.113.9"),
        (PROXY, ["198.51.100.1, 172.18.0.7, 203.0.113.9"], "203.0.113.9"),
        # A proxy that asks for itself
        (PROXY, ["172.18.0.7"], PROXY),
        (PROXY, ["172.18.0.7, 172.18.0.8"], PROXY),
        # What is no address is nobody's
        (PROXY, ["203.0.113.9, nonsense"], "nonsense"),
        (PROXY, [""], ""),
    ],
)  # fmt: skip
def test_the_address_is_the_last_one_that_is_no_proxy_of_ours(
    peer: str, forwarded: list[str], came_from: str
) -> None:
    assert client_address(peer, forwarded, TRUSTED) == came_from


@given(st.lists(st.text(alphabet="0123456789abcdef:.,/ ", max_size=30), max_size=5))
def test_nothing_that_a_client_sends_changes_what_its_proxy_saw(claims: list[str]) -> None:
    claimed = ", ".join([*claims, "203.0.113.9"])

    assert client_address(PROXY, [claimed], TRUSTED) == "203.0.113.9"
    assert client_address("203.0.113.9", claims, TRUSTED) == "203.0.113.9"


def test_without_trusted_proxies_no_header_is_believed() -> None:
    assert client_address("127.0.0.1", ["203.0.113.9"], []) == "127.0.0.1"


@pytest.mark.parametrize(
    ("address", "guesser"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("203.0.113.10", "203.0.113.10"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff:ffff:ffff:ffff", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::/64"),
        ("", "unknown"),
        ("nonsense", "unknown"),
        ("203.0.113.9:1234", "unknown"),
        ("203.0.113.09", "unknown"),
    ],
)
def test_one_guesser_is_an_ipv4_address_or_an_ipv6_64(address: str, guesser: str) -> None:
    assert one_guesser(address) == guesser


@given(st.ip_addresses(v=6), st.integers(0, 2**64 - 1))
def test_moving_within_a_64_gains_nothing(address: ipaddress.IPv6Address, host: int) -> None:
    moved = ipaddress.IPv6Address(int(address) >> 64 << 64 | host)
    assume(not address.ipv4_mapped and not moved.ipv4_mapped)

    assert one_guesser(str(moved)) == one_guesser(str(address))


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("127.0.0.1", "127.0.0.1/32"),
        (" ::1 ", "::1/128"),
        ("172.16.0.0/12", "172.16.0.0/12"),
        ("172.17.0.1/12", "172.16.0.0/12"),
        ("fd00::/8", "fd00::/8"),
    ],
)
def test_a_proxy_is_an_address_or_a_network(text: str, read: str) -> None:
    assert str(network(text)) == read


@pytest.mark.parametrize("text", ["", "proxy.example", "1.2.3.4/33", "1.2.3", "*", "::1/129"])
def test_what_is_no_network_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no address or network, such as 127\.0\.0\.1 or"):
        network(text)
