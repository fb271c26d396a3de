from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser.looks import WIDTH
from tests.browser.places import PATIENCE, House, Place
from tests.support.programs import chromium
from tests.support.site import Clock


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    house = House(tmp_path_factory.mktemp("house"))
    yield house
    house.stop()


# Of a module, not of the session: while Playwright runs, no other test could run an event loop.
@pytest.fixture(scope="module")
def browser(house: House) -> Iterator[Any]:
    with chromium(*house.flags) as browser:
        yield browser


@pytest.fixture(scope="module")
def page(browser: Any) -> Iterator[Any]:
    """A narrow window, in which JavaScript runs: axe is that."""
    context = browser.new_context(
        viewport={"width": WIDTH, "height": 640}, ignore_https_errors=True
    )
    yield context.new_page()
    context.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def open_page(browser: Any) -> Iterator[Callable[..., Any]]:
    """Opens a page in a browser without cookies, JavaScript off unless it is asked for."""
    contexts = []

    def opening(**options: Any) -> Any:
        options = {"java_script_enabled": False, "ignore_https_errors": True, **options}
        contexts.append(browser.new_context(**options))
        contexts[-1].set_default_timeout(PATIENCE)
        return contexts[-1].new_page()

    yield opening
    for context in contexts:
        context.close()


@pytest.fixture
def public(house: House, browser: Any, tmp_path: Path, clock: Clock) -> Iterator[Place]:
    """A server on https, and an app on another https host."""
    with house.place("public", browser, tmp_path, clock=clock) as place:
        yield place


@pytest.fixture(params=["public", "local"])
def place(
    request: pytest.FixtureRequest, house: House, browser: Any, tmp_path: Path, clock: Clock
) -> Iterator[Place]:
    """A server on https with an app in the cloud, and one on localhost with an app beside it."""
    with house.place(request.param, browser, tmp_path, clock=clock) as place:
        yield place
