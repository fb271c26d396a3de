"""A server of this project, with a state of its own, so that no test touches yours."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from personal_server import app, settings


@pytest.fixture
def loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[settings.Settings]:
    monkeypatch.setenv("MCP_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("MCP_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("MCP_PASSWORD", "only for these tests")
    settings.data_dir.cache_clear()
    yield settings.load()
    settings.data_dir.cache_clear()


@pytest.fixture
def client(loaded: settings.Settings) -> Iterator[TestClient]:
    server = app.build(loaded)
    http_app = server.http_app(path="/mcp", stateless_http=True, json_response=True)
    with TestClient(http_app, base_url=loaded.public_url, follow_redirects=False) as client:
        yield client
