"""The server starts: your tools can be imported, and it answers."""

from __future__ import annotations

from starlette.testclient import TestClient

from personal_server.settings import Settings


def test_it_starts_and_answers(client: TestClient) -> None:
    answer = client.get("/healthz")

    assert (answer.status_code, answer.text) == (200, "ok\n")


def test_it_says_where_clients_sign_in(client: TestClient, loaded: Settings) -> None:
    resource = client.get("/.well-known/oauth-protected-resource/mcp").json()
    server = client.get("/.well-known/oauth-authorization-server").json()

    assert resource["resource"] == f"{loaded.public_url}/mcp"
    assert resource["authorization_servers"] == [server["issuer"]] == [loaded.public_url]
    assert server["registration_endpoint"] == f"{loaded.public_url}/register"
