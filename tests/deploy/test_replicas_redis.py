"""Two and four servers behind Caddy on one Redis."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.deploy.promises import Promises
from tests.support.engines import Engine, Redis, started


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with started(Redis) as engine:
        yield engine


class TestOnRedis(Promises):
    pass
