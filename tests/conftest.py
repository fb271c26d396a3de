from __future__ import annotations

import compileall
import socket
from pathlib import Path

import pytest

from personal_auth import audit
from tests.generate.project import copy, snapshot


@pytest.fixture(autouse=True)
def _nothing_held_back() -> None:
    """Lets each test see its own log lines, however many came before it in this minute."""
    audit.budgets.update({event: audit.Budget() for event in audit.budgets})


@pytest.fixture
def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="session")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with the default answers; not to be changed."""
    project = tmp_path_factory.mktemp("rendered") / "my-server"
    copy(snapshot(tmp_path_factory.mktemp("template")), project)
    compileall.compile_dir(project / "src", quiet=1)  # once, and not at each first start of a copy
    return project
