"""What the pages say, read without the markup."""

from __future__ import annotations

import html
import re

import pytest

from tests.browser.states import FROM_DOCUMENTS, LOOPBACK, rendered
from tests.support.site import CALLBACK


def words(state: str | tuple[int, dict[str, str], bytes]) -> str:
    body = (FROM_DOCUMENTS[state]() if isinstance(state, str) else state)[2].decode()
    main = re.sub(r"<[^>]+>", " ", body.partition("<main>")[2])
    return re.sub(r"\s+", " ", html.unescape(main))


def test_who_registered_itself_is_unverified() -> None:
    said = words(rendered("Claude", CALLBACK, None))

    assert "“ Claude ” unverified" in said
    assert "any app can choose any name" in said
    assert " verified" not in said
    assert "has changed" not in said


def test_the_host_of_a_document_is_verified_and_the_name_is_not() -> None:
    said = words("verified")

    assert "claude.ai verified" in said
    assert "calls itself “ Claude ”, which is its own choice" in said
    assert "unverified" not in said
    assert "another host" not in said


def test_a_document_proves_nothing_about_a_program_on_this_computer() -> None:
    said = words("verified, on loopback")

    assert "only its description is verified" in said
    assert "published by claude.ai ." in said
    assert "Any program that runs here can ask this way, under any name." in said
    assert "claude.ai verified" not in said


def test_an_app_that_sends_access_to_another_host_is_pointed_out() -> None:
    assert "This is another host than the one that asks." in words("changed")


def test_a_changed_document_is_pointed_out() -> None:
    assert "This app has changed since you last approved it" in words("changed")


def test_a_scheme_of_its_own_is_an_app_on_this_device() -> None:
    said = words("no web address")

    assert "The app on this device that opens cursor: links" in said
    assert "cursor://anysphere.cursor-mcp/x" in said
    assert "Any app that is installed here can claim such links." in said


def test_a_document_proves_nothing_about_an_app_on_this_device() -> None:
    said = words("verified, no web address")

    assert "only its description is verified" in said
    assert "www.cursor.com verified" not in said


@pytest.mark.parametrize("uri", [CALLBACK, LOOPBACK])
def test_the_page_says_what_access_means_and_what_to_do_when_in_doubt(uri: str) -> None:
    said = words(rendered("Claude", uri, None))

    assert uri in said
    assert "When in doubt, choose Deny" in said
    assert "Use every tool of this server" in said
    assert "address bar shows mcp.example.com" in said


def test_a_name_that_pretends_to_be_part_of_the_page_stays_a_quoted_name() -> None:
    said = words(rendered("Claude” verified <b>claude.ai</b>", CALLBACK, None))

    assert "“ Claude” verified <b>claude.ai</b> ” unverified" in said
