from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.house import House, Internet, house
from tests.clients.published import HOSTS, publish_all
from tests.support.publisher import Publisher
from tests.support.tls import certificate

KINDS = ("loopback", "tls")


@pytest.fixture(scope="session")
def internet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Internet]:
    """What the clients' makers publish, and no other host."""
    file = certificate(tmp_path_factory.mktemp("internet"), *HOSTS)
    publisher = Publisher(file)
    publish_all(publisher)
    yield Internet(publisher, tuple(HOSTS), file)
    publisher.stop()


@pytest.fixture(scope="module", params=KINDS)
def place(
    request: pytest.FixtureRequest,
    rendered: Path,
    internet: Internet,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[House]:
    """A server of the module's own, once on plain loopback and once behind a TLS proxy."""
    folder = tmp_path_factory.mktemp(request.param)
    project = folder / "my-server"
    shutil.copytree(rendered, project)
    with house(request.param, project, folder, internet) as built:
        yield built
