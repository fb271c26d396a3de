"""A server that is broken in one way fails the check for it: strangers are treated wrongly."""

from __future__ import annotations

from collections.abc import Callable

import httpx2
import pytest

from personal_verify.answers import destination, sent_back
from tests.verify.faults import faults_of
from tests.verify.faults.making import Broken
from tests.verify.house import House, Report, assert_only_fails


@pytest.mark.parametrize("broken", faults_of("stranger"), ids=lambda broken: broken.sentence)
def test_only_its_check_fails_when(
    broken: Broken, house: House, verify_here: Callable[..., Report]
) -> None:
    assert_only_fails(broken, house, verify_here)


@pytest.mark.parametrize(
    ("location", "shown"),
    [
        ("https://a.example/?code=secret&state=s", "https://a.example/?code=…&state=s"),
        ("https://a.example/#state=s&access_token=secret", "https://a.example/#state=s&access_token=…"),
        ("https://a.example/?error=denied", "https://a.example/?error=denied"),
    ],
)  # fmt: skip
def test_where_an_answer_leads_is_shown_without_what_it_carries(location: str, shown: str) -> None:
    assert destination(httpx2.Response(302, headers={"location": location})) == shown


@pytest.mark.parametrize(
    "location",
    [
        "https://a.example/?code=c",
        "https://a.example/#code=c",
        "javascript:alert(1)//claude.ai?code=c",
        "https://[a.example/?code=c",
        "https://a.example/?x=1#code=c",
    ],
)
def test_a_code_is_noticed_wherever_it_goes(location: str) -> None:
    assert sent_back(httpx2.Response(302, headers={"location": location}))["code"] == "c"
