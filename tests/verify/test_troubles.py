"""What people complain of is judged by a check, and the page on troubles names it."""

from __future__ import annotations

import re

import pytest

from personal_verify.checks import every_check
from tests.generate.project import ROOT
from tests.verify.faults import BROKEN

PAGE = (ROOT / "template/docs/troubleshooting.md.jinja").read_text()
TROUBLES = {
    "the metadata has no registration endpoint": "metadata.server",
    "registering with POST gives no client_id": "stranger.register",
    "the public URL is not the one that clients use": "metadata.issuer",
    "the server cannot be reached from the internet": "reach.name",
    "the sign-in works, then the client is silent": "edge.agents",
    "Approve does nothing": "stranger.button",
    "tools return errors: connection already closed": "protocol.call",
    "tokens are lost after a restart": "state.token",
    "people have to sign in every day": "grant.retry",
    "no tool is called: names of built-in features": "protocol.collision",
    "no tool is called: generic descriptions": "protocol.generic",
    "no tool is called: instructions without direction": "protocol.directive",
    "a stream is held back": "edge.stream",
}


@pytest.mark.parametrize("trouble", TROUBLES)
def test_each_trouble_has_a_check_that_notices_it(trouble: str) -> None:
    check = TROUBLES[trouble]

    assert check in {broken.check for broken in BROKEN}
    assert f"`{check}`" in PAGE


def test_the_page_names_checks_that_exist() -> None:
    groups = {check.group for check in every_check()}

    named = re.findall(rf"`((?:{'|'.join(groups)})\.\w+)`", PAGE)

    assert set(named) - {check.id for check in every_check()} == set()


def test_what_cannot_be_seen_from_outside_is_on_the_page() -> None:
    assert '"command is required"' in PAGE
