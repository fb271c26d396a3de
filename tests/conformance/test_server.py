"""The conformance suite against a server that speaks both revisions of the protocol.

The suite's scenarios call tools, resources and prompts of given names, which `fixture_server.py`
adds to a rendered server. What that cannot pass stands in `expected-failures-*.yml` with its cause;
what stands there and passes fails the test. Scenarios of extensions (tasks) are not judged: the
server offers none.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.house import Place, copied, serving, with_fixtures
from tests.conformance.suite import Check, Expected, Outcome, check_server, required

LATEST, BEFORE = "2026-07-28", "2025-11-25"
NEED_NO_FIXTURES = {
    BEFORE: {
        "server-initialize",
        "logging-set-level",
        "ping",
        "tools-list",
        "resources-list",
        "prompts-list",
        "dns-rebinding-protection",
    },
    LATEST: {
        "tools-list",
        "resources-list",
        "prompts-list",
        "sep-2164-resource-not-found",
        "server-sse-multiple-streams",
        "dns-rebinding-protection",
        "input-required-result-unsupported-methods",
        "http-header-validation",
    },
}
"""Scenarios that call nothing which a server must have for the suite's sake."""


@pytest.fixture(scope="module")
def default(rendered: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """The generated server with nothing added and nothing set."""
    with serving(copied(rendered, tmp_path_factory.mktemp("default"))) as place:
        yield place


@pytest.fixture(scope="module")
def unset(rendered: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """The fixtures on a server with nothing set: it answers with JSON."""
    with serving(with_fixtures(rendered, tmp_path_factory.mktemp("unset"))) as place:
        yield place


@pytest.fixture(scope="module")
def streaming(rendered: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """The fixtures on a server that answers with event streams, by its setting."""
    project = with_fixtures(rendered, tmp_path_factory.mktemp("streaming"))
    with serving(project, MCP_RESPONSES="sse") as place:
        yield place


@pytest.fixture(scope="module")
def with_sessions(rendered: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """The fixtures on a server that keeps sessions, as the ten lines of the quick start do."""
    project = with_fixtures(rendered, tmp_path_factory.mktemp("sessions"))
    with serving(project, MCP_RESPONSES="sse", FIXTURE_SESSIONS="1") as place:
        yield place


def test_the_server_conforms_to_the_latest_revision_with_nothing_set(
    unset: Place, tmp_path: Path
) -> None:
    expected = Expected.read(tmp_path, LATEST, "json")

    outcome = check_server(f"{unset.url}/mcp", LATEST, tmp_path, expected)

    assert_as(expected, outcome, LATEST, unset)


def test_the_server_conforms_to_the_latest_revision(streaming: Place, tmp_path: Path) -> None:
    expected = Expected.read(tmp_path, LATEST)

    outcome = check_server(f"{streaming.url}/mcp", LATEST, tmp_path, expected)

    assert_as(expected, outcome, LATEST, streaming)


def test_the_server_conforms_to_the_revision_before_without_sessions(
    streaming: Place, tmp_path: Path
) -> None:
    expected = Expected.read(tmp_path, BEFORE, "stateless")

    outcome = check_server(f"{streaming.url}/mcp", BEFORE, tmp_path, expected)

    assert_as(expected, outcome, BEFORE, streaming)


def test_the_server_conforms_to_the_revision_before_with_sessions(
    with_sessions: Place, tmp_path: Path
) -> None:
    expected = Expected.read(tmp_path, BEFORE)

    outcome = check_server(f"{with_sessions.url}/mcp", BEFORE, tmp_path, expected)

    assert_as(expected, outcome, BEFORE, with_sessions)


@pytest.mark.parametrize("revision", [LATEST, BEFORE])
def test_the_generated_server_passes_all_that_needs_no_fixtures(
    default: Place, tmp_path: Path, revision: str
) -> None:
    outcome = check_server(f"{default.url}/mcp", revision, tmp_path)

    wanted = NEED_NO_FIXTURES[revision]
    judged = [check for check in outcome.checks if check.scenario in wanted]
    message = f"{outcome.report}\n{default.server.log}"
    assert succeeded(judged) == wanted, message
    assert {check.status for check in judged} <= {"SUCCESS", "INFO"}, message


def assert_as(expected: Expected, outcome: Outcome, revision: str, place: Place) -> None:
    """Asserts that all which a revision asks for succeeds, but for exactly what is expected."""
    scored, beside = required(revision)
    judged = [check for check in outcome.checks if check.scenario in {*scored, *beside}]
    failed = {check.name for check in judged if check.status in ("FAILURE", "WARNING")}
    skipped = {check.name for check in judged if check.status == "SKIPPED"}
    silent = {*scored, *beside} - succeeded(judged) - {name.split(":")[0] for name in failed}

    message = f"{outcome.report}\n{place.server.log}"
    assert {check.status for check in judged} <= KNOWN, message
    assert failed - expected.failures == set(), f"fails unexpectedly\n{message}"
    assert expected.failures - failed == set(), f"passes now\n{message}"
    assert skipped | silent == expected.skipped, f"skipped differs\n{message}"
    assert outcome.code == 0, message


KNOWN = {"SUCCESS", "FAILURE", "WARNING", "SKIPPED", "INFO"}


def succeeded(checks: list[Check]) -> set[str]:
    """Returns the scenarios of which at least one requirement was tested and met."""
    return {
        check.scenario
        for check in checks
        if check.status == "SUCCESS" and not check.id.startswith("wire-schema")
    }
