"""Two and four servers behind Caddy on one PostgreSQL."""

from __future__ import annotations

from tests.deploy.promises import Promises
from tests.support.engines import Postgres


class TestOnPostgres(Promises):
    kind = Postgres
