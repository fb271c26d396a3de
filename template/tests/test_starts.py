"""It starts."""

from starlette.testclient import TestClient

from personal_server.settings import Settings


def test_it_starts_and_says_so(client: TestClient) -> None:
    assert client.get("/healthz").text == "ok\n"


def test_it_publishes_its_address(client: TestClient, loaded: Settings) -> None:
    metadata = client.get("/.well-known/oauth-protected-resource/mcp").json()

    assert metadata["resource"] == f"{loaded.public_url}/mcp"
    assert metadata["authorization_servers"] == [loaded.public_url]
