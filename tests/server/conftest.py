from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.process import Running


@pytest.fixture
def project(rendered: Path, tmp_path: Path) -> Path:
    """A project of one's own."""
    return Path(shutil.copytree(rendered, tmp_path / "my-server"))


@pytest.fixture
def run(project: Path) -> Iterator[Callable[..., Running]]:
    """Starts the project's server on a free port."""
    started: list[Running] = []

    def run(**settings: str) -> Running:
        started.append(Running(project, **settings))
        return started[-1]

    yield run
    for server in started:
        server.kill()
