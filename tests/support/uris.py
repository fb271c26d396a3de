"""Redirect URIs as clients use them, and strings that look like them."""

from __future__ import annotations

import random
from collections.abc import Sequence

CLAUDE = "https://claude.ai/api/mcp/auth_callback"
CURSOR = "cursor://anysphere.cursor-mcp/oauth/callback"
LOCAL = "http://localhost:8080/callback"
ALLOWED = frozenset(
    {
        "claude.ai",
        "claude.com",
        "localhost",
        "own.example:8443",
        "cursor://anysphere.cursor-mcp",
        "app://own.example:99",
        "xn--mnchen-3ya.example",
    }
)
USED = (
    CLAUDE,
    "https://claude.com/cb?x=1&y=%20z",
    "https://own.example:8443/cb",
    "https://xn--mnchen-3ya.example/cb",
    LOCAL,
    "http://127.0.0.1:33418/",
    "http://[::1]/cb?x=1",
    CURSOR,
    "app://own.example:99/cb",
)
PIECES = (
    *"/:?#@\\.%;,&=+*!'()[]|^`<>{}\"$~-_ \t\n\r\x00\x1f\x7f01aZ",
    *("//", "..", "/../", "/./", "%2e", "%2E%2e", "%2f", "%5c", "%00", "%", "%zz", "%41"),
    *(":443", ":80", ":0", ":8080", ":65536", "@evil.example", "evil.example", ".evil.example"),
    *("https:", "http://", "javascript:", "localhost", "127.0.0.1", "127.1", "0x7f", "[::1]"),
    *(
        "\uff0e",
        "\u3002",
        "\u0430",
        "\u00df",
        "\u200b",
        "\u2044",
        "\u00ad",
        "\u0131",
        "\ud83d\ude00",
    ),
    *("xn--", "code=", "&state=x", ";iss=", "?", "?x='"),
)


def mutated(chance: random.Random, uris: Sequence[str] = USED) -> str:
    """Returns a URI that clients use with up to three small changes."""
    text = chance.choice(uris)
    for _ in range(chance.randint(0, 3)):
        at = chance.randint(0, len(text))
        rest = text[at:]
        match chance.randrange(6):
            case 0 | 1:
                text = text[:at] + chance.choice(PIECES) + rest
            case 2:
                text = text[:at] + chance.choice(PIECES) + rest[1:]
            case 3:
                text = text[:at] + rest[1:]
            case 4:
                text = text[:at] + rest[:1].swapcase() + rest[1:]
            case _:
                text = text[:at] + "".join(f"%{ord(c):02x}" for c in rest[:1]) + rest[1:]
    return text


def taken_apart(uri: str) -> tuple[str, str, str, str, str]:
    """Returns scheme, host, port, path and query of a plain URI, by its first separators only."""
    scheme, _, rest = uri.partition("://")
    rest, mark, query = rest.partition("?")
    authority, slash, path = rest.partition("/")
    host, colon, port = authority.rpartition(":")
    if not colon or not port.isdigit():
        host, port = authority, ""
    return scheme, host, port, slash + path, mark + query
