"""Strangers stay out: nobody gets a token without the owner's password."""

from __future__ import annotations

import html
import re

import pytest
from starlette.testclient import TestClient

VERIFIER = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"  # this pair is in RFC 7636, appendix B
CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
CALLBACKS = [
    "http://localhost:1/callback",
    "https://claude.ai/api/mcp/auth_callback",
    "https://stranger.example/callback",
]


def question(client: TestClient, callback: str) -> dict[str, str]:
    """Registers a client; returns what it sends to /authorize."""
    metadata = {"client_name": "A stranger", "redirect_uris": [callback]}
    return {
        "response_type": "code",
        "client_id": client.post("/register", json=metadata).json()["client_id"],
        "redirect_uri": callback,
        "code_challenge": CHALLENGE,
        "code_challenge_method": "S256",
    }


@pytest.mark.parametrize("callback", CALLBACKS)
def test_asking_gives_a_page_and_no_code(client: TestClient, callback: str) -> None:
    page = client.get("/authorize", params=question(client, callback))

    assert "location" not in page.headers
    assert page.headers["content-type"].startswith("text/html")


@pytest.mark.parametrize("password", [None, "", "a guess"])
@pytest.mark.parametrize("callback", CALLBACKS)
def test_approving_without_the_password_gives_no_code(
    client: TestClient, callback: str, password: str | None
) -> None:
    page = client.get("/authorize", params=question(client, callback))
    ticket = re.search('name="ticket" value="([^"]*)"', page.text)
    form = {"decision": "approve", "ticket": html.unescape(ticket[1]) if ticket else "made up"}
    if password is not None:
        form["password"] = password

    answer = client.post("/authorize", data=form, headers={"Origin": str(client.base_url)})

    assert answer.status_code in {400, 403}
    assert "location" not in answer.headers


@pytest.mark.parametrize("callback", CALLBACKS)
def test_a_made_up_code_gives_no_token(client: TestClient, callback: str) -> None:
    asked = question(client, callback)
    form = {
        "grant_type": "authorization_code",
        "code": "made up",
        "client_id": asked["client_id"],
        "redirect_uri": callback,
        "code_verifier": VERIFIER,
    }

    answer = client.post("/token", data=form)

    assert answer.status_code == 400
    assert answer.json()["error"] == "invalid_grant"


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "DELETE"])
@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer made-up"}])
def test_without_a_token_there_is_only_the_challenge(
    client: TestClient, method: str, headers: dict[str, str]
) -> None:
    answer = client.request(method, "/mcp", headers=headers)

    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer ")
