"""A server that is broken in one way fails the check for it: clients are told something wrong."""

from __future__ import annotations

from collections.abc import Callable

import httpx2
import pytest

from personal_verify import metadata, published
from personal_verify.known import CLAUDE, CLAUDE_DOCUMENT
from tests.verify.faults import faults_of
from tests.verify.faults.making import Asking, Broken
from tests.verify.house import PASSWORD, House, Report, assert_only_fails


@pytest.mark.parametrize("broken", faults_of("metadata"), ids=lambda broken: broken.sentence)
def test_only_its_check_fails_when(
    broken: Broken, house: House, verify_here: Callable[..., Report]
) -> None:
    assert_only_fails(broken, house, verify_here)


def test_a_server_that_fetches_claudes_document_passes_at_a_public_address(
    house: House, verify_here: Callable[..., Report], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metadata, "fetches_documents", lambda url: True)
    known = httpx2.post(f"{house.url}/register", json={"redirect_uris": [CLAUDE]}).json()
    house.proxy.fault = Asking(  # as if the server had reached it
        lambda asked: asked.query.get("client_id") == CLAUDE_DOCUMENT,
        lambda asked: asked.query.update(client_id=known["client_id"]),
    )

    report = verify_here(house.url, "--json", "--only", "metadata.fetch", MCP_PASSWORD=PASSWORD)

    assert report.checks["metadata.fetch"]["detail"] == CLAUDE_DOCUMENT
    assert report.code == 0


@pytest.mark.parametrize(
    ("url", "fetches"),
    [
        ("https://mcp.example.com", True),
        ("http://mcp.example.com", False),
        ("http://localhost:8050", False),
        ("https://localhost:8443", False),
    ],
)
def test_documents_are_fetched_at_public_addresses_only(url: str, fetches: bool) -> None:
    assert metadata.fetches_documents(url) is fetches


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("https://mcp.example.com/token", ""),
        ("https://docs.example.com/", ""),
        ("https://8.8.8.8/", ""),
        ("http://mcp.example.com/token", "not encrypted"),
        ("http://localhost:8050/token", "another place on each computer"),
        ("https://127.0.0.1/token", "another place on each computer"),
        ("http://10.0.0.7:8050/mcp", "only its own network"),
        ("https://192.168.1.20/mcp", "only its own network"),
        ("https://172.16.0.9/mcp", "only its own network"),
        ("https://169.254.169.254/", "only its own network"),
        ("https://[fd00::1]/mcp", "only its own network"),
        ("https://100.101.102.103/mcp", "only its own network"),
        ("http://my-server:8050/mcp", "only its own network"),
        ("http://nas.local/mcp", "only its own network"),
        ("https://mcp.corp.internal/mcp", "only its own network"),
        ("/token", "no address"),
        ("https://[::1", "no address"),
    ],
)
def test_an_address_that_clients_cannot_use_is_told(address: str, told: str) -> None:
    kind = published.kind_of(address, "https://mcp.example.com")

    assert told in kind
    assert bool(kind) == bool(told)


def test_every_address_in_a_document_is_found() -> None:
    document = {
        "jwks_uri": "https://a.example/keys",
        "ui": {"logo_uri": "http://b.example"},
        "mtls_endpoint_aliases": [{"token_endpoint": "https://c.example"}],
        "scopes_supported": ["tools"],
    }

    assert list(published.addresses_in(document)) == [
        ("jwks_uri", "https://a.example/keys"),
        ("logo_uri", "http://b.example"),
        ("token_endpoint", "https://c.example"),
    ]
