"""Strangers stay out."""

import pytest
from starlette.testclient import TestClient

CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"


@pytest.mark.parametrize(
    "redirect",
    [
        "http://localhost:1/callback",
        "https://claude.ai/api/mcp/auth_callback",
        "https://stranger.example/callback",
    ],
)
def test_three_requests_give_no_code_and_no_token(client: TestClient, redirect: str) -> None:
    registration = {"client_name": "A stranger", "redirect_uris": [redirect]}
    client_id = client.post("/register", json=registration).json()["client_id"]
    query = {
        "response_type": "code",
        "client_id": client_id,
        "redirect_uri": redirect,
        "code_challenge": CHALLENGE,
        "code_challenge_method": "S256",
    }
    form = {"client_id": client_id, "redirect_uri": redirect, "code_verifier": "v" * 43}

    page = client.get("/authorize", params=query)
    token = client.post(
        "/token", data={**form, "grant_type": "authorization_code", "code": "made-up"}
    )

    assert "location" not in page.headers
    assert token.status_code == 400
    assert "access_token" not in token.json()


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "DELETE"])
@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer made-up"}])
def test_without_a_token_there_is_only_the_challenge(
    client: TestClient, method: str, headers: dict[str, str]
) -> None:
    answer = client.request(method, "/mcp", headers=headers)

    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer ")
