"""Two and four servers behind Caddy on one Redis."""

from __future__ import annotations

from tests.deploy.promises import Promises
from tests.support.engines import Redis


class TestOnRedis(Promises):
    kind = Redis
