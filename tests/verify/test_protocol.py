"""A server that is broken fails the check for it: MCP is spoken wrongly, or tools are useless."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.verify.faults import faults_of, variants_of
from tests.verify.faults.making import Broken, Site
from tests.verify.house import PASSWORD, House, Report, assert_only_fails, assert_told


@pytest.mark.parametrize("broken", faults_of("protocol"), ids=lambda broken: broken.sentence)
def test_only_its_check_fails_when(
    broken: Broken, house: House, verify_here: Callable[..., Report]
) -> None:
    assert_only_fails(broken, house, verify_here)


@pytest.mark.parametrize("broken", variants_of("protocol"), ids=lambda broken: broken.sentence)
def test_its_check_fails_too_when(
    broken: Broken, house: House, verify_here: Callable[..., Report]
) -> None:
    house.proxy.fault = broken.make(Site(house.url, PASSWORD))

    report = verify_here(house.url, "--json", "--only", broken.check, MCP_PASSWORD=PASSWORD)

    assert report.with_status("fail") == [broken.check], report.out
    assert_told(report, broken.check)
