"""A connection that does not survive a restart of the server fails the check for it."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from personal_verify import restart
from personal_verify.checks import every_check
from tests.verify.faults import faults_of
from tests.verify.faults.making import Broken, Site
from tests.verify.house import PASSWORD, House, Report, assert_only_fails
from tests.verify.proxy import Answer, Asked, Fault
from tests.verify.restarting import Restarter

Verify = Callable[..., Report]

STATE = [check.id for check in every_check() if check.group == "state"]


@pytest.fixture
def restarter(house: House, tmp_path: Path) -> Iterator[Restarter]:
    restarter = Restarter(house, tmp_path)
    yield restarter
    restarter.close()


def python(program: str) -> str:
    return f'"{sys.executable}" -c "{program}"'


@pytest.mark.parametrize("broken", faults_of("state"), ids=lambda broken: broken.sentence)
def test_only_its_check_fails_when(
    broken: Broken,
    house: House,
    restarter: Restarter,
    verify_here: Verify,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if broken.sentence == "the server does not come back":
        monkeypatch.setattr(restart, "LIMIT_SECONDS", 2.0)

    assert_only_fails(broken, house, verify_here, "--restart", restarter.command)

    assert restarter.count == 1


def test_everything_passes_over_a_real_restart_and_nothing_is_left(
    house: House, restarter: Restarter, verify: Verify
) -> None:
    before = house.connections

    report = verify(house.url, "--json", "--restart", restarter.command, MCP_PASSWORD=PASSWORD)

    assert (report.code, report.err) == (0, "")
    assert report.with_status("pass") == [check.id for check in every_check()]
    assert restarter.count == 1
    assert report.checks["state.restart"]["detail"].startswith("away for ")
    assert house.connections <= before


def test_what_a_restart_leaves_a_stranger_is_seen_without_the_password(
    house: House, restarter: Restarter, verify_here: Verify
) -> None:
    report = verify_here(
        house.url, "--json", "--only", ",".join(STATE), "--restart", restarter.command
    )

    assert report.code == 0
    assert report.with_status("pass") == ["state.restart", "state.client"]
    assert report.with_status("skip") == ["state.token", "state.refresh"]


@pytest.mark.parametrize("only", ["state.token", "state.client,state.token"])
def test_a_connection_is_made_before_the_restart_whatever_is_asked_for(
    house: House, restarter: Restarter, verify_here: Verify, only: str
) -> None:
    lost = [broken for broken in faults_of("state") if "access tokens" in broken.sentence]
    house.proxy.fault = lost[0].make(Site(house.url, PASSWORD))

    report = verify_here(
        house.url,
        *("--json", "--only", only, "--restart", restarter.command),
        MCP_PASSWORD=PASSWORD,
    )

    assert report.with_status("fail") == ["state.token"]


def test_the_last_line_of_a_command_that_fails_is_shown(house: House, verify_here: Verify) -> None:
    command = python("print('Restarting'); print('No such unit.'); print(); exit(7)")

    report = verify_here(house.url, "--json", "--only", "state.token", "--restart", command)

    assert report.code == 1
    assert report.with_status("fail") == ["state.restart"]
    assert report.checks["state.restart"]["detail"] == (
        "The command of --restart ends with exit code 7 and says: No such unit."
    )
    assert report.checks["state.token"]["status"] == "skip"


def test_a_command_that_does_not_end_is_named(
    house: House, verify_here: Verify, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restart, "LIMIT_SECONDS", 0.5)
    command = python("import time; time.sleep(3)")

    report = verify_here(house.url, "--json", "--only", "state.restart", "--restart", command)

    assert report.with_status("fail") == ["state.restart"]
    assert "still running after" in report.checks["state.restart"]["detail"]


def test_a_command_that_restarts_nothing_proves_nothing(
    house: House, verify_here: Verify, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restart, "UNSEEN_SECONDS", 0.2)

    report = verify_here(
        house.url, "--json", "--only", ",".join(STATE), "--restart", python("pass")
    )

    assert report.with_status("fail") == ["state.restart"]
    assert "answered all the while" in report.checks["state.restart"]["detail"]
    assert report.with_status("skip") == STATE[1:]


def test_a_program_that_the_command_leaves_behind_is_not_waited_for(
    house: House, verify_here: Verify, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restart, "UNSEEN_SECONDS", 0.2)
    command = python("import subprocess, sys; subprocess.Popen(['sleep', '20'])")
    began = time.monotonic()

    verify_here(house.url, "--json", "--only", "state.restart", "--restart", command)

    assert time.monotonic() - began < 10


def test_a_proxy_that_answers_in_its_place_does_not_count_as_being_back(
    house: House, restarter: Restarter, verify_here: Verify
) -> None:
    class Away(Fault):
        answers = 0

        def before(self, asked: Asked) -> Answer | None:
            if restarter.count and self.answers < 30:
                self.answers += 1
                return Answer(502)
            return None

    house.proxy.fault = fault = Away()

    report = verify_here(
        house.url, "--json", "--only", "state.client", "--restart", restarter.command
    )

    assert report.code == 0, report.out
    assert fault.answers == 30


def test_who_interrupts_a_restart_is_told_what_is_left(
    house: House, verify_here: Verify, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Down(Fault):
        def before(self, asked: Asked) -> Answer | None:
            return Answer(502)

    def interrupted(*_: object) -> float:
        house.proxy.fault = Down()
        raise KeyboardInterrupt

    monkeypatch.setattr("personal_verify.state.restart", interrupted)

    report = verify_here(
        house.url, "--only", "state.token", "--restart", "true", MCP_PASSWORD=PASSWORD
    )

    assert (report.code, report.out) == (130, "")
    left, last = report.err.splitlines()
    assert left.startswith("A connection called verify.py may be left: see `uv run my-server")
    assert last == "verify.py: interrupted."


def test_without_a_command_nothing_of_a_restart_is_shown(house: House, verify_here: Verify) -> None:
    report = verify_here(house.url, "--json")

    assert [name for name in report.checks if name.startswith("state.")] == []


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--only", "state.restart"], "state.restart needs --restart"),
        (["--only", "reach.health,state.client"], "state.client needs --restart"),
        (["--restart", " "], "--restart needs the command"),
    ],
)
def test_a_restart_without_a_command_is_one_sentence(
    verify_here: Verify, arguments: list[str], told: str
) -> None:
    report = verify_here("http://localhost:1", *arguments)

    assert (report.code, report.out) == (2, "")
    assert report.err.startswith(f"verify.py: {told}")
    assert report.err.endswith(".\n")
    assert report.err.count("\n") == 1
