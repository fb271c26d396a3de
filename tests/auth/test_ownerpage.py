"""The page `/owner`: who may open it, and what each of its forms does."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.ownerpage import LOCAL, Desk, desk, words
from tests.support.site import PASSWORD, URL, Clock, Site, connect

NEW = "another password of some length"


@pytest.fixture(params=[URL, LOCAL], ids=["public", "local"])
def place(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> Iterator[Site]:
    """A server on https, and one on plain loopback."""
    site = Site(tmp_path / "state", clock, base_url=request.param, server_name="my-server")
    yield site
    site.stop()


@pytest.fixture
def here(place: Site) -> Desk:
    return desk(place)


def connected(site: Site, name: str = "Claude") -> tuple[str, str]:
    """Returns the id and the access token of a new connection."""
    service = site.provider.service
    made = service.grants.issue_token(name, read_only=False, seconds=3600)
    return run(site, made)


def run(site: Site, work):
    import asyncio

    return asyncio.run_coroutine_threadsafe(work, site.loop).result(20)


def test_the_owner_signs_in_and_sees_what_is_connected(here: Desk, place: Site) -> None:
    connected(place, "Nightly script")

    before, page = here.open(), here.sign_in()

    assert "Nightly script" not in before.text
    assert page.status_code == 200
    assert "Nightly script" in words(page)
    assert "What" not in before.text


def test_a_disconnected_app_is_refused_at_its_next_request(here: Desk, place: Site) -> None:
    gid, access = connected(place)
    here.sign_in()
    call = desk(place).visitor.call
    before = call(access).status_code

    page = here.act("revoke", id=gid)

    assert (before, call(access).status_code) == (200, 401)
    assert "Its next request is refused." in words(page)
    assert "Nothing is connected yet." in words(page)
