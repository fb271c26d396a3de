"""The stores on a server of their own: real Redis and PostgreSQL, behind the front door."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from personal_auth import open_store
from tests.support import programs
from tests.support.site import App, Clock, Site, approve, connect


@pytest.fixture(scope="module")
def redis() -> Iterator[str]:
    with programs.redis() as url:
        yield url


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    with programs.postgres() as url:
        yield url


@pytest.fixture(scope="module", params=["redis", "postgres"])
def url(request: pytest.FixtureRequest) -> str:
    found: str = request.getfixturevalue(request.param)
    return found


@pytest.fixture(scope="module")
def away(url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A server whose state is in the store."""
    clock = Clock()
    site = Site(tmp_path_factory.mktemp("away") / "state", clock, client_storage=open_store(url))
    yield site
    site.stop()


def test_a_client_stays_connected_over_a_restart_of_the_server(away: Site) -> None:
    app, tokens = connect(away)
    fresh = app.refresh(tokens["refresh_token"]).json()

    away.restart()

    assert app.refresh(tokens["refresh_token"]).json() == fresh
    assert away.visitor().call(fresh["access_token"]).status_code == 200
    assert not (away.state_dir / "oauth_tokens.json").exists()


def test_one_of_many_redeems_a_code(away: Site) -> None:
    app = App.register(away)
    code = approve(app)

    with ThreadPoolExecutor(20) as crowd:
        answers = list(crowd.map(lambda _: app.redeem(code).status_code, range(20)))

    assert sorted(answers) == [200] + [400] * 19


def test_a_hundred_requests_at_once_are_all_answered(away: Site) -> None:
    _, tokens = connect(away)

    with ThreadPoolExecutor(100) as crowd:
        calls = crowd.map(lambda _: away.visitor().call(tokens["access_token"]), range(100))

    assert {call.status_code for call in calls} == {200}


def test_nothing_lies_in_the_state_directory(away: Site, tmp_path: Path) -> None:
    connect(away)

    assert not away.state_dir.exists() or not list(away.state_dir.iterdir())
