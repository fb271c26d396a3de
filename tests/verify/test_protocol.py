"""A server that is broken fails the check for it: MCP is spoken wrongly, or tools are useless."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.verify.faults import faults_of
from tests.verify.faults.making import Broken
from tests.verify.house import House, Report, assert_only_fails


@pytest.mark.parametrize("broken", faults_of("protocol"), ids=lambda broken: broken.sentence)
def test_only_its_check_fails_when(
    broken: Broken, house: House, verify_here: Callable[..., Report]
) -> None:
    assert_only_fails(broken, house, verify_here)
