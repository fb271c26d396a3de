"""Where a code may be sent: one table, and what holds for every string."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from personal_auth.errors import InvalidRedirectUri
from personal_auth.redirects import check

CLAUDE = "https://claude.ai/api/mcp/auth_callback"
CURSOR = "cursor://anysphere.cursor-mcp/oauth/callback"
LOCAL = "http://localhost:8080/callback"
ALLOWED = frozenset(
    {"claude.ai", "claude.com", "localhost", "own.example:8443", "cursor://anysphere.cursor-mcp"}
)

GOOD = [
    CLAUDE,
    "https://claude.com/api/mcp/auth_callback",
    "https://claude.ai/cb?fixed=1&b=%20x",
    "https://own.example:8443/cb",
    LOCAL,
    "http://127.0.0.1:8080/callback",
    "http://127.0.0.1/",
    "http://[::1]:3000/cb",
    CURSOR,
]

BAD = [
    "",
    "/relative",
    "//claude.ai/cb",
    "claude.ai/cb",
    "https:claude.ai/cb",
    "https:/claude.ai/cb",
    "https:///claude.ai/cb",
    "HTTPS://claude.ai/cb",
    "https://CLAUDE.ai/cb",
    "https://evil.example/cb",
    "https://evilclaude.ai/cb",
    "https://claude.ai.evil.example/cb",
    "https://sub.claude.ai/cb",
    "https://claude.ai./cb",
    "https://.claude.ai/cb",
    "https://claude..ai/cb",
    "https://claude.ai:443/cb",
    "https://claude.ai:8443/cb",
    "https://claude.ai:/cb",
    "https://claude.ai:080/cb",
    "https://claude.ai:99999/cb",
    "https://own.example/cb",
    "https://claude.ai@evil.example/cb",
    "https://evil.example@claude.ai/cb",
    "https://user:pw@claude.ai/cb",
    "https://claude.ai\\@evil.example/cb",
    "https://evil.example\\.claude.ai/cb",
    "https:\\\\claude.ai/cb",
    "https://claude.ai%2eevil.example/cb",
    "https://claude%2eai/cb",
    "https://claude.ai%00.evil.example/cb",
    "https://claude.ai/cb#fragment",
    "https://claude.ai/cb#",
    "https://claude.ai/../cb",
    "https://claude.ai/a/./cb",
    "https://claude.ai/%2e%2e/cb",
    "https://claude.ai/a/%2E./cb",
    "https://claude.ai/cb/..",
    "https://claude.ai/cb\t",
    "https://claude.ai/cb\n",
    "https://claude\t.ai/cb",
    "https://claude.ai/c b",
    "https://claude.ai/\x00cb",
    " https://claude.ai/cb",
    "https://claude\uff0eai/cb",
    "https://\uff43laude.ai/cb",
    "https://cl\u0430ude.ai/cb",
    "https://claude.ai\u2044cb",
    "https://claude.ai\u3002evil.example/cb",
    "https://[claude.ai]/cb",
    "javascript:alert(1)",
    "javascript://claude.ai/%0aalert(1)",
    "data:text/html,x",
    "data://claude.ai/x",
    "file:///etc/passwd",
    "file://localhost/etc/passwd",
    "blob:https://claude.ai/x",
    "ws://localhost/cb",
    "http://claude.ai/cb",
    "http://evil.example/cb",
    "http://localhost.evil.example/cb",
    "http://localhost@evil.example/cb",
    "http://127.0.0.1.evil.example/cb",
    "http://127.1/cb",
    "http://2130706433/cb",
    "http://0x7f.0.0.1/cb",
    "http://0177.0.0.1/cb",
    "http://127.0.0.2/cb",
    "http://0.0.0.0/cb",
    "http://[::]/cb",
    "http://[::ffff:127.0.0.1]/cb",
    "https://127.0.0.1.1/cb",
    "https://1.2.3.4/cb",
    "cursor://evil/oauth/callback",
    "evil://anysphere.cursor-mcp/oauth/callback",
]


@pytest.mark.parametrize("uri", GOOD)
def test_a_registered_and_allowed_uri_gets_the_code(uri: str) -> None:
    assert check(uri, [uri], ALLOWED).uri == uri


@pytest.mark.parametrize("uri", BAD, ids=ascii)
def test_a_tricky_uri_gets_nothing_even_when_registered(uri: str) -> None:
    with pytest.raises(InvalidRedirectUri):
        check(uri, [uri], ALLOWED)


@pytest.mark.parametrize("uri", BAD, ids=ascii)
def test_allowing_every_domain_lets_no_trick_through(uri: str) -> None:
    try:
        redirect = check(uri, [uri], None)
    except InvalidRedirectUri:
        return

    assert redirect.scheme == "https"
    assert redirect.host == urlsplit(uri).hostname


@pytest.mark.parametrize(
    ("uri", "registered"),
    [
        (CLAUDE, "https://claude.ai/api/mcp/auth_callback/"),
        (CLAUDE + "/x", CLAUDE),
        (CLAUDE + "?x=1", CLAUDE),
        ("http://localhost:1/other", LOCAL),
        ("http://127.0.0.1:8080/callback", LOCAL),
        ("http://localhost:1/callback?x", LOCAL),
        (LOCAL, CLAUDE),
    ],
)
def test_an_unregistered_uri_gets_nothing(uri: str, registered: str) -> None:
    with pytest.raises(InvalidRedirectUri, match="registered"):
        check(uri, [registered], ALLOWED)


@pytest.mark.parametrize("port", ["", ":1", ":8080", ":65535"])
@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]"])
def test_the_loopback_port_does_not_matter(host: str, port: str) -> None:
    assert check(f"http://{host}{port}/cb", [f"http://{host}:4321/cb"], ALLOWED)


def test_loopback_is_refused_when_the_owner_left_it_out() -> None:
    with pytest.raises(InvalidRedirectUri, match="allowed"):
        check(LOCAL, [LOCAL], {"claude.ai"})


PIECES = st.sampled_from(
    [
        "https",
        "http",
        "://",
        "claude.ai",
        "evil.example",
        "localhost",
        "127.0.0.1",
        "[::1]",
        "@",
        ":",
        "/",
        "\\",
        "?",
        "#",
        "..",
        ".",
        "%2e",
        "%00",
        ":443",
        "8080",
        "cb",
        "a",
        "\t",
        "．",
    ]
)


@given(st.lists(PIECES, max_size=9).map("".join) | st.text(max_size=40))
def test_whatever_passes_has_the_scheme_and_host_of_an_allowed_entry(uri: str) -> None:
    try:
        redirect = check(uri, [uri], ALLOWED)
    except InvalidRedirectUri:
        return

    parsed = urlsplit(uri)
    assert parsed.scheme == redirect.scheme
    assert parsed.username is None
    assert not parsed.fragment
    assert f"{parsed.hostname}" in {"claude.ai", "claude.com", "localhost", "127.0.0.1", "::1"}
    assert uri.isascii()
    assert uri.isprintable()
