from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import programs
from tests.support.site import Clock, Site, Visitor


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def site(tmp_path: Path, clock: Clock) -> Iterator[Site]:
    site = Site(tmp_path / "state", clock)
    yield site
    site.stop()


@pytest.fixture
def stranger(site: Site) -> Visitor:
    return site.visitor()


@pytest.fixture
def owner(site: Site) -> Visitor:
    return site.visitor()


@pytest.fixture(scope="module")
def shared_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A server for tests that leave nothing in it."""
    site = Site(tmp_path_factory.mktemp("shared") / "state", Clock())
    yield site
    site.stop()


@pytest.fixture(scope="module")
def redis() -> Iterator[str]:
    with programs.redis() as url:
        yield url


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    with programs.postgres() as url:
        yield url
