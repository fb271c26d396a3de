"""Two and four servers behind Caddy on one PostgreSQL; test_replicas.py says what holds."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.deploy.test_replicas import Promises
from tests.support.engines import Engine, Postgres, started


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with started(Postgres) as engine:
        yield engine


class TestOnPostgres(Promises):
    pass
