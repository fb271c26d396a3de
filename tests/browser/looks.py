"""How a page is looked at: by axe, for what does not fit, and for how bright it is."""

from __future__ import annotations

from typing import Any

from axe_playwright_python.sync_playwright import Axe

from tests.browser.places import House

TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
SPACED = (
    "@media all{*{line-height:1.5!important;letter-spacing:.12em!important}"
    "*{word-spacing:.16em!important}"
    "p{margin-bottom:2em!important}}"  # WCAG 2.1, 1.4.12
)
WIDTH = 320  # the narrowest, and 1280 at a zoom of 400% (WCAG 2.1, 1.4.10)


def show(page: Any, house: House, name: str, answer: tuple[int, dict[str, str], str]) -> None:
    """Opens what was answered in one state, in a narrow window in light colours."""
    address = house.host.keep(f"/{name.replace(' ', '-')}", *answer)
    page.emulate_media(color_scheme="light", forced_colors="none")
    page.set_viewport_size({"width": WIDTH, "height": 640})
    page.goto(address)


def findings(page: Any) -> list[str]:
    """Returns what axe objects to, and where it cannot tell the contrast."""
    options = {"runOnly": TAGS, "resultTypes": ["violations", "incomplete"]}
    found = Axe().run(page, options=options).response
    assert any(rule["id"] == "color-contrast" for rule in found["passes"])
    unsure = [rule for rule in found["incomplete"] if rule["id"] == "color-contrast"]
    return [
        f"{rule['id']}: {node['html']}"
        for rule in [*found["violations"], *unsure]
        for node in rule["nodes"]
    ]


def overflow(page: Any) -> int:
    """Returns by how many pixels the page is wider than the window."""
    pixels: int = page.evaluate("document.documentElement.scrollWidth - innerWidth")
    return pixels


def widened(page: Any) -> tuple[int, int, int]:
    """Returns the overflow as it is, with the text spaced out, and with that at twice its size."""
    plain = overflow(page)
    page.evaluate("rule => document.styleSheets[0].insertRule(rule)", SPACED)
    spaced = overflow(page)
    page.evaluate("document.documentElement.style.fontSize = '200%'")
    return plain, spaced, overflow(page)


def brightness(page: Any) -> int:
    script = "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).slice(0, 3)"
    return sum(map(int, page.evaluate(script)))
