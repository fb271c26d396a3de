"""The pictures in docs/owner.md are of the pages as they are; `make pictures` takes them anew."""

from __future__ import annotations

import hashlib
import os
import re
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from personal_auth.trail import Trail
from tests.browser.places import House
from tests.browser.states import Answer, kept
from tests.support import household
from tests.support.ownerpage import Desk, desk
from tests.support.site import PASSWORD, Clock, Site

DOCS = Path(__file__).parents[2] / "docs"
FOLDER, DIGEST = DOCS / "pictures", DOCS / "pictures" / "digest.txt"
MOST_BYTES = 150_000
DRAWN = re.compile(rb'data-options="[^"]*"|[0-9a-f]{16,}|[\w-]{40,}')
"""Ids, challenges and sealed values, which are others each time and show nowhere."""
MARGIN, MOST_HIGH = 20, 600  # pixels
LAPTOP = (
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko)"
    " Chrome/147.0.0.0 Safari/537.36"
)


@dataclass(frozen=True)
class Picture:
    """What a picture shows: a page, or a part of it, as wide as a window."""

    state: str
    width: int
    height: int
    scheme: str = "light"
    part: str = ""
    """The id of the heading of a part; the whole window without it."""


PICTURES = {
    "connections": Picture("furnished", 760, 840),
    "phone": Picture("furnished", 360, 720, "dark"),
    "sign-in": Picture("sign in", 360, 640),
    "browsers": Picture("furnished", 760, 640, part="sessions"),
    "passkeys": Picture("furnished", 760, 640, part="passkeys"),
    "trail": Picture("furnished", 760, 640, "dark", part="trail"),
}


def digest(answers: Mapping[str, Answer]) -> str:
    """Returns what changes with anything that the pictures show."""
    shown = hashlib.sha256(repr(sorted(PICTURES.items())).encode())
    for state, (_, _, page) in sorted(answers.items()):
        shown.update(state.encode() + DRAWN.sub(b"", page))
    return shown.hexdigest()


@contextmanager
def pages(folder: Path) -> Iterator[dict[str, Answer]]:
    """Yields the page of an ordinary owner in the states that pictures show."""
    clock = Clock()
    trail = Trail(folder / "trail.sqlite3", clock=clock)
    options = {"server_name": "my-server", "trusted_proxies": ["127.0.0.1"], "password": None}
    site = Site(folder / "state", clock, trail=trail, **options)
    try:
        site.run(site.provider.service.owner.change_password(PASSWORD))
        household.furnish(site)
        here = at_home(site)
        yield {"sign in": kept(here.open()), "furnished": kept(here.sign_in())}
    finally:
        site.stop()


def at_home(site: Site) -> Desk:
    """Returns the owner's own browser."""
    here = desk(site)
    here.visitor.headers |= {"user-agent": LAPTOP, "x-forwarded-for": household.CAFE}
    return here


def take(browser: Any, house: House, name: str, answer: Answer) -> None:
    """Takes one picture."""
    asked = PICTURES[name]
    context = browser.new_context(
        viewport={"width": asked.width, "height": asked.height},
        color_scheme=asked.scheme,
        ignore_https_errors=True,
    )
    page = context.new_page()
    page.goto(house.host.keep(f"/{name}", *answer))
    path = FOLDER / f"{name}.png"
    clip = _around(page, asked.part) if asked.part else None
    page.screenshot(path=path, clip=clip, full_page=clip is not None)
    context.close()


def _around(page: Any, part: str) -> dict[str, float]:
    box = page.locator(f"section[aria-labelledby={part}]").bounding_box()
    return {
        "x": box["x"] - MARGIN,
        "y": box["y"] - MARGIN,
        "width": box["width"] + 2 * MARGIN,
        "height": min(box["height"], MOST_HIGH) + 2 * MARGIN,
    }


def test_the_pictures_are_of_the_pages_as_they_are(
    request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    with pages(tmp_path) as answers:
        if "PICTURES" in os.environ:
            browser, house = (request.getfixturevalue(name) for name in ("browser", "house"))
            FOLDER.mkdir(exist_ok=True)
            for name, picture in PICTURES.items():
                take(browser, house, name, answers[picture.state])
            DIGEST.write_text(f"{digest(answers)}\n")

        assert DIGEST.read_text() == f"{digest(answers)}\n", "make pictures, and look at them"


def test_every_picture_is_there_and_small() -> None:
    there = {path.stem: path.read_bytes() for path in FOLDER.glob("*.png")}

    assert set(there) == set(PICTURES)
    for name, image in there.items():
        width, height = struct.unpack(">II", image[16:24])
        assert len(image) < MOST_BYTES, name
        assert width <= PICTURES[name].width
        assert height > 100


def test_the_document_shows_every_picture_and_says_what_is_on_it() -> None:
    shown = re.findall(r"!\[([^\]]+)\]\(pictures/([a-z-]+)\.png\)", (DOCS / "owner.md").read_text())

    assert sorted(name for _, name in shown) == sorted(PICTURES)
    assert all(len(words.split()) > 4 for words, _ in shown)
