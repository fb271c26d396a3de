"""This project's server in this process, on a folder of its own: no test touches your settings."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import personal_server  # noqa: F401 (stops with a sentence where a file hides the sign-in)

if TYPE_CHECKING:  # imported late, so that test_ours.py can tell of a conflict in them
    from starlette.testclient import TestClient

    from personal_server.settings import Settings


@pytest.fixture
def loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """The settings as they are without .env and without MCP_ variables."""
    from personal_server import settings

    for name in [name for name in os.environ if name.startswith(settings.PREFIX)]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(settings, "project_root", lambda: tmp_path)
    monkeypatch.setenv("MCP_PUBLIC_URL", "http://localhost:8050")
    monkeypatch.setenv("MCP_PASSWORD", "only for these tests")
    monkeypatch.setenv("MCP_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("MCP_DATA_DIR", str(tmp_path / "data"))
    settings.data_dir.cache_clear()
    yield settings.load()
    settings.data_dir.cache_clear()


@pytest.fixture
def client(loaded: Settings) -> Iterator[TestClient]:
    """Somebody who comes to the server; redirects are not followed."""
    from starlette.testclient import TestClient

    from personal_server import app

    server = app.build(loaded)
    http_app = server.http_app(path="/mcp", stateless_http=True, json_response=True)
    with TestClient(http_app, base_url=loaded.public_url, follow_redirects=False) as client:
        yield client
