"""Two and four servers behind Caddy on one PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.deploy.promises import Promises
from tests.support.engines import Engine, Postgres, started


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with started(Postgres) as engine:
        yield engine


class TestOnPostgres(Promises):
    pass
