"""The conformance suite's scenarios for an authorization server, as each kind of client."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conformance.house import PASSWORD, copied
from tests.conformance.suite import Outcome, check_authorization
from tests.support.approve import approve, follow
from tests.support.process import Running
from tests.support.programs import free_port
from tests.verify.proxy import Answer, Asked, Fault, Proxy

CALLBACK = "http://127.0.0.1/callback"  # of any port: it is on the loopback
SECRET = "a secret of the app's own"
NAMED = {
    "none": {"client_id": "public-app", "redirect_uris": [CALLBACK]},
    "secret": {
        "client_id": "confidential-app",
        "client_secret": SECRET,
        "redirect_uris": [CALLBACK],
    },
}
PASSED = {
    "authorization-server-metadata-endpoint:authorization-server-metadata",
    "authorization-server-metadata-endpoint:authorization-server-metadata-cimd",
    "authorization-code-grant:authorization-code-grant",
}
REFUSED = "authorization-code-grant:authorization-code-grant"


class Only(Fault):
    """Takes every other way to authenticate out of the metadata, and keeps what came to /token.

    The suite sends a client's secret only where the metadata does not list `none`, which ours has
    to for public clients: `selectTokenAuthMethod` in
    src/scenarios/authorization-server/authorization-code-grant.ts prefers `none` even with a
    secret at hand. The server rightly refuses a confidential client that does not prove itself.
    """

    def __init__(self, method: str) -> None:
        self.method = method
        self.redeemed: list[Asked] = []

    def before(self, asked: Asked) -> Answer | None:
        if asked.path == "/token":
            self.redeemed.append(asked)
        return None

    def after(self, asked: Asked, answer: Answer) -> None:
        if asked.path.startswith("/.well-known/"):
            document = answer.json
            offered = document["token_endpoint_auth_methods_supported"]
            assert {"none", self.method} <= {*offered}
            answer.json = {**document, "token_endpoint_auth_methods_supported": [self.method]}


@pytest.fixture(scope="module")
def proxy(rendered: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """A freshly rendered server behind a proxy, which passes everything on unless it is told."""
    proxy = Proxy()
    try:
        server = Running(
            copied(rendered, tmp_path_factory.mktemp("authorization")),
            MCP_PUBLIC_URL=proxy.url,
            MCP_PASSWORD=PASSWORD,
            MCP_CLIENTS=json.dumps([*NAMED.values()]),
        )
        try:
            proxy.port_behind = server.port
            yield proxy
        finally:
            server.kill()
    finally:
        proxy.stop()


@pytest.fixture
def through(proxy: Proxy) -> Iterator[Proxy]:
    yield proxy
    proxy.fault = Fault()


@pytest.mark.parametrize("origin", ["registered", "named"])
def test_a_public_client_meets_no_failure_and_no_warning(
    through: Proxy, tmp_path: Path, origin: str
) -> None:
    client = the_client(through, origin, "none")

    outcome = run(through, client, tmp_path)

    assert_passed(outcome)


@pytest.mark.parametrize("method", ["client_secret_post", "client_secret_basic"])
@pytest.mark.parametrize("origin", ["registered", "named"])
def test_a_confidential_client_meets_no_failure_and_no_warning(
    through: Proxy, tmp_path: Path, origin: str, method: str
) -> None:
    client = the_client(through, origin, method)
    through.fault = only = Only(method)

    outcome = run(through, client, tmp_path)

    assert_passed(outcome)
    (redeemed,) = only.redeemed
    assert ("client_secret" in redeemed.form) == (method == "client_secret_post")
    assert redeemed.headers.get("authorization", "").startswith("Basic ") == (
        method == "client_secret_basic"
    )


def test_the_suite_does_not_send_a_secret_while_public_clients_are_offered(
    through: Proxy, tmp_path: Path
) -> None:
    """Fails once the suite sends it, and the proxy above is to go."""
    client = the_client(through, "registered", "client_secret_post")

    outcome = run(through, client, tmp_path)

    assert outcome.named("FAILURE", "WARNING", "SKIPPED") == {REFUSED}, outcome.report
    assert [check.message for check in outcome.checks if check.name == REFUSED] == [
        "Invalid status code: 401"
    ]


def the_client(proxy: Proxy, origin: str, method: str) -> dict[str, Any]:
    """Returns a client that registers itself, or one that the settings name."""
    if origin == "named":
        return NAMED["none" if method == "none" else "secret"]
    asked = {"redirect_uris": [CALLBACK], "token_endpoint_auth_method": method}
    registered = httpx.post(f"{proxy.url}/register", json=asked, trust_env=False)
    assert registered.status_code == 201, registered.text
    client: dict[str, Any] = registered.json()
    assert ("client_secret" in client) == (method != "none")
    return client


def run(proxy: Proxy, client: dict[str, Any], folder: Path) -> Outcome:
    """Runs the suite; the owner approves at the address that it prints."""
    return check_authorization(
        proxy.url,
        client,
        free_port(),
        folder,
        lambda address: follow(approve(address, PASSWORD)),
    )


def assert_passed(outcome: Outcome) -> None:
    assert outcome.named("SUCCESS") == PASSED, outcome.report
    assert outcome.named("FAILURE", "WARNING", "SKIPPED", "INFO") == set(), outcome.report
    assert outcome.code == 0, outcome.report
