"""How the pages look and read: every state, in light and dark, down to 320 pixels."""

from __future__ import annotations

from typing import Any

import pytest

from tests.browser.looks import brightness, findings, overflow, show, widened
from tests.browser.places import House
from tests.browser.states import LONG_URI, WITH_PASSKEY, States


@pytest.fixture(scope="module")
def states(tmp_path_factory: pytest.TempPathFactory) -> States:
    return States(tmp_path_factory.mktemp("states"))


@pytest.fixture(params=States.NAMES)
def state(request: pytest.FixtureRequest, page: Any, states: States, house: House) -> str:
    """Opens a page in one state; returns the state's name."""
    show(page, house, request.param, states.answers[request.param])
    name: str = request.param
    return name


def test_every_state_is_accessible_in_light_and_dark(page: Any, state: str) -> None:
    light, light_brightness = findings(page), brightness(page)
    page.emulate_media(color_scheme="dark")
    dark, dark_brightness = findings(page), brightness(page)

    assert (light, dark) == ([], []), state
    assert light_brightness > 600
    assert dark_brightness < 150


def test_no_state_scrolls_sideways(page: Any, state: str) -> None:
    plain = overflow(page)
    for details in page.locator("summary").all():
        details.click()

    assert (plain, *widened(page)) == (0, 0, 0, 0), state


def test_what_can_be_pressed_is_large_enough_for_a_thumb(page: Any, state: str) -> None:
    targets = page.locator("button:visible, summary, input:visible").all()
    boxes = [target.bounding_box() for target in targets]

    assert all(box["height"] >= 44 and box["width"] >= 44 for box in boxes), state
    assert bool(boxes) == page.locator("form").is_visible()


def test_every_state_has_a_title_a_language_and_one_heading(page: Any, state: str) -> None:
    assert page.title().endswith(" · my-server"), state
    assert page.locator("html").get_attribute("lang") == "en"
    assert page.locator("h1").count() == 1
    assert page.locator("h2, h3, img, link").count() == 0


def test_only_a_page_that_offers_a_passkey_has_a_script(page: Any, state: str) -> None:
    assert page.locator("script").count() == (state in WITH_PASSKEY), state


def test_axe_would_find_a_field_without_its_label(page: Any, states: States, house: House) -> None:
    show(page, house, "password asked", states.answers["password asked"])

    page.evaluate("document.querySelector('label').remove()")
    page.evaluate("document.querySelector('dd + dd').style.color = '#aaa'")

    rules = {finding.partition(":")[0] for finding in findings(page)}
    assert rules == {"label", "label-title-only", "color-contrast"}


def test_a_wide_word_would_be_found(page: Any, states: States, house: House) -> None:
    show(page, house, "long name", states.answers["long name"])

    page.evaluate("document.body.style.overflowWrap = 'normal'")

    assert overflow(page) > 0


def test_a_password_manager_can_tell_what_to_keep(page: Any, states: States, house: House) -> None:
    show(page, house, "password asked", states.answers["password asked"])

    name = page.locator("input[autocomplete=username]")

    assert page.locator("input[autocomplete=current-password]").is_visible()
    assert name.input_value() == "owner"
    assert name.is_hidden()


def test_a_long_address_is_there_when_it_is_asked_for(
    page: Any, states: States, house: House
) -> None:
    show(page, house, "long address", states.answers["long address"])
    before = page.get_by_text(LONG_URI).is_visible()

    page.locator("summary").press("Enter")

    assert not before
    assert page.get_by_text(LONG_URI).is_visible()


def test_forced_colors_still_tell_approve_from_deny(
    page: Any, states: States, house: House
) -> None:
    show(page, house, "password asked", states.answers["password asked"])
    page.emulate_media(forced_colors="active")

    width = "button => getComputedStyle(button).borderTopWidth"
    approve, deny = (
        page.locator(f"button[value={v}]").evaluate(width) for v in ("approve", "deny")
    )

    assert (approve, deny) == ("3px", "1px")
