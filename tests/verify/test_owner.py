"""A server that is broken fails the check for it: an approval does what it should not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.home import Home, enrol
from tests.support.programs import free_port
from tests.verify.faults import faults_of
from tests.verify.faults.making import Broken
from tests.verify.house import House, Report, assert_only_fails


@pytest.mark.parametrize("broken", faults_of("owner"), ids=lambda broken: broken.sentence)
def test_only_its_check_fails_when(
    broken: Broken, house: House, verify_here: Callable[..., Report]
) -> None:
    assert_only_fails(broken, house, verify_here)


def test_a_server_that_takes_only_passkeys_has_no_fault(
    rendered: Path, verify: Callable[..., Report], tmp_path: Path
) -> None:
    port, password = str(free_port()), "a password to switch off"
    settings = {"MCP_PORT": port, "MCP_PUBLIC_URL": f"http://localhost:{port}"}
    home = Home(rendered, {**settings, "MCP_STATE_DIR": str(tmp_path)})
    home.said("password", stdin=f"{password}\n")
    home.start()
    try:
        desk = home.browser()
        desk.sign_in(password)
        enrol(desk, "Phone")
        assert desk.act("password-off").status_code == 200
        (tmp_path / "password").write_text(password)

        report = verify(home.url, "--json", "--password-file", str(tmp_path / "password"))
    finally:
        home.stop()

    assert report.with_status("fail") == []
    assert report.checks["stranger.page"]["detail"].startswith("passkey, approve, deny")
    assert "--browser lets you sign in there" in report.out
