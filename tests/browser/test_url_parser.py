"""What `redirects.check` lets through is read by a real browser exactly as it is read there."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator
from typing import Any

import pytest

from personal_auth.errors import InvalidRedirectUri
from personal_auth.redirects import Redirect, check
from tests.support.programs import chromium
from tests.support.uris import ALLOWED, PIECES, USED, mutated, taken_apart

ANSWER = {"code": "pac_&?#/'", "iss": "https://mcp.example.com", "state": "a b&code=x#;'\u00fc"}
READ = """uris => uris.map(uri => {
    let url;
    try { url = new URL(uri) } catch { return null }
    return {
        href: url.href, protocol: url.protocol, username: url.username, password: url.password,
        hostname: url.hostname, port: url.port, pathname: url.pathname, search: url.search,
        hash: url.hash, answer: [...url.searchParams],
    }
})"""

Parts = dict[str, Any]


@pytest.fixture(scope="module")
def page() -> Iterator[Any]:
    with chromium() as browser:
        yield browser.new_page()


def parsed(page: Any, uris: list[str]) -> list[Parts | None]:
    """Returns how Chromium reads each string."""
    batches = (uris[at : at + 1000] for at in range(0, len(uris), 1000))
    return [parts for batch in batches for parts in page.evaluate(READ, batch)]


def accepted(
    candidates: list[str], registered: Collection[str] | None, allowed: Collection[str] | None
) -> list[Redirect]:
    """Lets the check judge; with `registered` None each is what its client registered."""
    found = []
    for uri in candidates:
        try:
            found.append(check(uri, registered or [uri], allowed))
        except InvalidRedirectUri:
            continue
    return found


def expected(uri: str) -> Parts:
    """Reads a plain URI; the two things a browser adds or drops change nothing of its meaning."""
    scheme, host, port, path, query = taken_apart(uri)
    if scheme in {"http", "https"}:
        path = path or "/"
        port = "" if (scheme, port) == ("http", "80") else port
    origin = f"{scheme}://{host}" + (f":{port}" if port else "")
    return {
        "href": origin + path + query,
        "protocol": f"{scheme}:",
        "username": "",
        "password": "",
        "hostname": host,
        "port": port,
        "pathname": path,
        "search": "" if query == "?" else query,
        "hash": "",
    }


def without_answer(parts: Parts | None) -> Parts:
    assert parts is not None, "the browser cannot read it"
    return {name: value for name, value in parts.items() if name != "answer"}


CHANCE = random.Random(20251125)
CANDIDATES = sorted({mutated(CHANCE) for _ in range(20_000)})
SWEPT = [
    uri[:at] + piece + uri[at:]
    for uri in (
        "https://claude.ai/cb?x=1",
        "http://localhost:80/cb",
        "cursor://anysphere.cursor-mcp/",
    )
    for at in range(len(uri) + 1)
    for piece in PIECES
]


@pytest.mark.parametrize("registered", [None, USED], ids=["registered by itself", "another's"])
@pytest.mark.parametrize("allowed", [ALLOWED, None], ids=["a list", "every domain"])
def test_a_browser_reads_what_passes_as_it_is_read_here(
    page: Any, registered: Collection[str] | None, allowed: Collection[str] | None
) -> None:
    redirects = accepted(CANDIDATES, registered, allowed)

    read = parsed(page, [redirect.uri for redirect in redirects])

    assert len(USED) - 2 <= len(redirects) < len(CANDIDATES) / 2
    for redirect, parts in zip(redirects, read, strict=True):
        assert without_answer(parts) == expected(redirect.uri), redirect.uri


@pytest.mark.parametrize("allowed", [ALLOWED, None], ids=["a list", "every domain"])
def test_no_character_at_any_place_makes_a_browser_read_otherwise(
    page: Any, allowed: Collection[str] | None
) -> None:
    redirects = accepted(SWEPT, None, allowed)

    read = parsed(page, [redirect.uri for redirect in redirects])

    assert 500 < len(redirects) < len(SWEPT) / 2
    for redirect, parts in zip(redirects, read, strict=True):
        assert without_answer(parts) == expected(redirect.uri), redirect.uri
        assert parts is not None
        assert (parts["protocol"], parts["hostname"]) == (f"{redirect.scheme}:", redirect.host)


def test_a_browser_goes_where_the_code_may_go_and_carries_one_answer(page: Any) -> None:
    redirects = accepted([*CANDIDATES, *SWEPT], None, ALLOWED)

    read = parsed(page, [redirect.answered(ANSWER) for redirect in redirects])

    assert len(redirects) > 1000
    for redirect, parts in zip(redirects, read, strict=True):
        assert parts is not None, redirect.uri
        where = expected(redirect.uri)
        for name in ("protocol", "username", "password", "hostname", "port", "pathname", "hash"):
            assert parts[name] == where[name], redirect.uri
        assert parts["search"].startswith(where["search"] or "?"), redirect.uri
        answer = [(name, value) for name, value in parts["answer"] if name in ANSWER]
        assert answer == list(ANSWER.items()), redirect.uri


@pytest.mark.parametrize(
    ("uri", "host"),
    [
        ("https://claude.ai\\@evil.example/cb", "claude.ai"),
        ("https://evil.example\uff03.claude.ai/", None),
        ("https://claude\u3002ai/cb", "claude.ai"),
        ("https://clau\u00adde.ai/cb", "claude.ai"),
        ("http://127.1/cb", "127.0.0.1"),
        ("http://0x7f.1/cb", "127.0.0.1"),
        ("http://2130706433/cb", "127.0.0.1"),
        ("http://[::ffff:127.0.0.1]/cb", "[::ffff:7f00:1]"),
        ("https:claude.ai/cb", "claude.ai"),
    ],
    ids=ascii,
)
def test_a_browser_does_read_tricky_uris_otherwise(page: Any, uri: str, host: str | None) -> None:
    (parts,) = parsed(page, [uri])

    assert (parts and parts["hostname"]) == host  # so that comparing them would be a mistake
    assert accepted([uri], None, None) == []
