"""What the list of connections says of each."""

from __future__ import annotations

import pytest

from personal_server.connections import returns_to


@pytest.mark.parametrize(
    ("uris", "place"),
    [
        (["https://claude.ai/api/mcp/auth_callback"], "claude.ai"),
        (["http://localhost:3334/oauth/callback"], "localhost"),
        (
            ["http://127.0.0.1/a", "http://[::1]:7/b", "https://vscode.dev/c"],
            "localhost, vscode.dev",
        ),
        (["https://own.example:8443/cb", "https://own.example?x"], "own.example"),
        (["cursor://anysphere.cursor-mcp/oauth/callback"], "cursor"),
        (["http://[broken", ""], "[broken"),
        ([], ""),
    ],
    ids=str,
)
def test_a_connection_is_known_by_where_its_sign_in_returns(uris: list[str], place: str) -> None:
    assert returns_to(uris) == place
