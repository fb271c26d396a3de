from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.house import House, house

KINDS = ("loopback", "tls")


@pytest.fixture(scope="module", params=KINDS)
def place(
    request: pytest.FixtureRequest, rendered: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[House]:
    """A server of the module's own, once on plain loopback and once behind a TLS proxy."""
    folder = tmp_path_factory.mktemp(request.param)
    project = folder / "my-server"
    shutil.copytree(rendered, project)
    with house(request.param, project, folder) as built:
        yield built
