"""How the owner's page looks and reads: every state, in light and dark, down to 320 pixels."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from tests.browser.looks import brightness, findings, overflow, show, widened
from tests.browser.owner_states import OwnerStates
from tests.browser.places import House

WITHOUT_A_SCRIPT = {"not possible", "no name for passkeys", "sign in", "wrong password", "wait"}
WITHOUT_A_SCRIPT |= {"signed out", "not fresh"}


@pytest.fixture(scope="module")
def states(tmp_path_factory: pytest.TempPathFactory) -> OwnerStates:
    return OwnerStates(tmp_path_factory.mktemp("states"))


@pytest.fixture(params=OwnerStates.NAMES)
def state(request: pytest.FixtureRequest, page: Any, states: OwnerStates, house: House) -> str:
    """Opens the page in one state; returns the state's name."""
    name: str = request.param
    show(page, house, name, states.answers[name])
    return name


def unfold(page: Any) -> None:
    """Opens all that can be opened."""
    page.evaluate("for (const each of document.querySelectorAll('details')) each.open = true")


def test_every_state_is_accessible_in_light_and_dark(page: Any, state: str) -> None:
    folded = findings(page)
    unfold(page)
    light, light_brightness = findings(page), brightness(page)
    page.emulate_media(color_scheme="dark")
    dark, dark_brightness = findings(page), brightness(page)

    assert (folded, light, dark) == ([], [], []), state
    assert light_brightness > 600
    assert dark_brightness < 150


def test_no_state_scrolls_sideways(page: Any, state: str) -> None:
    plain = overflow(page)
    unfold(page)

    assert (plain, *widened(page)) == (0, 0, 0, 0), state


def test_what_can_be_pressed_is_large_enough_for_a_thumb(page: Any, state: str) -> None:
    unfold(page)
    targets = page.locator("button:visible, summary, input:visible, a:visible").all()
    boxes = [target.bounding_box() for target in targets]

    assert all(box["height"] >= 44 for box in boxes), state
    assert all(box["width"] >= 24 for box in boxes), state
    assert boxes


def test_every_state_has_a_title_a_language_and_headings_in_order(page: Any, state: str) -> None:
    levels = page.locator("h1, h2, h3, h4").evaluate_all(
        "all => all.map(each => Number(each.tagName[1]))"
    )

    assert page.title().endswith(" · my-server"), state
    assert page.locator("html").get_attribute("lang") == "en"
    assert levels.count(1) == 1
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    assert page.locator("img, link").count() == 0


def test_only_a_page_that_offers_a_passkey_has_a_script(page: Any, state: str) -> None:
    assert page.locator("script").count() == (state not in WITHOUT_A_SCRIPT), state


def test_no_two_things_that_can_be_pressed_have_the_same_name(
    page: Any, states: OwnerStates, house: House
) -> None:
    show(page, house, "furnished", states.answers["furnished"])
    unfold(page)

    names = page.locator("button:visible, summary").evaluate_all(
        "all => all.map(each => each.textContent.replace(/\\s+/g, ' ').trim())"
    )

    again = {"Keep this name", "Remove it now"}  # within what they belong to
    said = [name for name in names if name not in again]
    assert len(said) > 15
    assert sorted(said) == sorted(set(said))


def test_forced_colors_still_show_what_can_be_pressed(
    page: Any, states: OwnerStates, house: House
) -> None:
    show(page, house, "furnished", states.answers["furnished"])
    unfold(page)
    page.emulate_media(forced_colors="active")

    widths = page.locator("button:visible").evaluate_all(
        "all => all.map(each => getComputedStyle(each).borderTopWidth)"
    )

    assert set(widths) == {"1px", "3px"}


def test_a_name_of_markup_is_shown_as_it_is(page: Any, states: OwnerStates, house: House) -> None:
    show(page, house, "hostile names", states.answers["hostile names"])

    names = page.locator("h3 bdi").all_inner_texts()

    assert "<b>claude.ai</b></h3><form>verified" in names
    assert "An app without a name" in names
    assert page.locator("h3 bdi *").count() == 0
