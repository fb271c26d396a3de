"""Where did a request come from, and which addresses belong together?"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from contextvars import ContextVar
from functools import lru_cache

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

SHARED = tuple(
    ipaddress.ip_network(text)
    for text in (
        *("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16"),
        *("100.64.0.0/10", "::1", "fc00::/7", "fe80::/10"),
    )
)

caller: ContextVar[str] = ContextVar("caller", default="")
"""The address that the request at hand came from; empty for a command of the owner's."""


def network(text: str) -> Network:
    """Reads an address or a network.

    Raises:
        ValueError: It is neither; the message is half a sentence.
    """
    try:
        return ipaddress.ip_network(text.strip(), strict=False)
    except ValueError:
        raise ValueError(
            f"{text!r} is no address or network, such as 127.0.0.1 or 172.16.0.0/12"
        ) from None


def client_address(peer: str, forwarded: Sequence[str], trusted: Iterable[Network]) -> str:
    """Returns the address a request came from.

    Args:
        peer: The other end of the connection.
        forwarded: The values of the `X-Forwarded-For` headers, in their order. They are believed
            only from trusted proxies: the address is the last one that is not a proxy's own.
        trusted: The proxies.
    """
    proxies = tuple(trusted)
    if not is_in(peer, proxies):
        return peer
    hops = [hop.strip() for line in forwarded for hop in line.split(",")]
    return next((hop for hop in reversed(hops) if not is_in(hop, proxies)), peer)


def is_shared(address: str) -> bool:
    """Tells whether many may be behind an address: a private one, as of a proxy nobody named."""
    parsed = _parsed(address)
    return parsed is None or any(parsed in network for network in SHARED)


def one_guesser(address: str) -> str:
    """Returns the unit that one attacker holds: an IPv4 address, an IPv6 /64."""
    parsed = _parsed(address)
    if isinstance(parsed, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((int(parsed), 64), strict=False))
    return "unknown" if parsed is None else str(parsed)


@lru_cache(maxsize=256)
def is_in(address: str, networks: tuple[Network, ...]) -> bool:
    """Tells whether an address lies in one of the networks."""
    parsed = _parsed(address)
    return parsed is not None and any(parsed in each for each in networks)


def _parsed(text: str) -> Address | None:
    """Reads an address, one that maps IPv4 into IPv6 as the IPv4 address (RFC 4291 §2.5.5.2)."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
