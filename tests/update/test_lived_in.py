"""A project in which a person has lived keeps every line of theirs, and gets every one of ours."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.generate.project import copy, git, initialise
from tests.support import forks
from tests.support.process import ONLY_PYTEST, environment
from tests.update import lived_in
from tests.update.releases import THIS, Releases, conflicts, released, stored, update
from tests.update.trees import Tree, owned_as, tree

CHANGED = {
    "public_url": "https://mcp.example.com",
    "clients": ["claude", "chatgpt"],
    "tunnel": "none",
    "tool_prefix": "chef",
}


class Updated:
    """A project that was made from one release, lived in, and updated with other answers."""

    def __init__(self, releases: Releases, tag: str, folder: Path) -> None:
        self.project, self.fresh = folder / "my-server", folder / "fresh"
        copy(releases.folder, self.project, vcs_ref=tag, **lived_in.ANSWERS)
        initialise(self.project)
        self.theirs: Tree = lived_in.settle(self.project)
        update(self.project, **CHANGED)
        copy(releases.folder, self.fresh, vcs_ref=THIS, **{**lived_in.ANSWERS, **CHANGED})

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        return forks.run(
            [sys.executable, "-m", *command],
            cwd=self.project,
            env=environment(self.project, **ONLY_PYTEST),
            timeout=120,
        )


@pytest.fixture(scope="module", params=["v0.8.0", "v0.9.0", *released()])
def updated(
    history: Releases, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Updated:
    return Updated(history, request.param, tmp_path_factory.mktemp("lived-in"))


def test_every_file_of_theirs_is_as_it_was(updated: Updated) -> None:
    after = tree(updated.project)

    assert {path: after.get(path) for path in updated.theirs} == updated.theirs


def test_what_they_deleted_stays_deleted(updated: Updated) -> None:
    after = tree(updated.project)

    assert [name for name in lived_in.DELETED if name in after] == []


def test_every_file_of_ours_is_as_in_a_fresh_copy(updated: Updated) -> None:
    after = owned_as("owned", updated.project)
    fresh = owned_as("owned", updated.fresh)

    expected = {path: entry for path, entry in fresh.items() if path not in lived_in.DELETED}

    assert {path: after.get(path) for path in expected} == expected
    assert after.keys() - expected.keys() <= updated.theirs.keys()


def test_shared_files_hold_our_lines_and_theirs(updated: Updated) -> None:
    expected = lived_in.shared(updated.fresh)

    after = {name: (updated.project / name).read_text("utf-8") for name in expected}

    assert after == expected


def test_nothing_is_left_to_be_decided(updated: Updated) -> None:
    left = [name for name in tree(updated.project) if name.endswith((".rej", ".orig"))]

    assert conflicts(updated.project) == []
    assert git(updated.project, "ls-files", "--unmerged") == ""
    assert left == []


def test_the_changed_answers_are_kept(updated: Updated) -> None:
    answers = stored(updated.project)

    assert {name: answers[name] for name in CHANGED} == CHANGED
    assert answers["_commit"] == THIS


def test_all_tests_pass_with_theirs_among_them(updated: Updated) -> None:
    done = updated.run("pytest", "-v", "-p", "no:cacheprovider")

    assert done.returncode == 0, done.stdout + done.stderr
    for name in ("test_my_tool_with_my_fixture", "test_my_page_with_your_fixture"):
        assert f"tests/mine/test_mine.py::{name} PASSED" in done.stdout
    assert "tests/test_tools.py::test_each_has_the_prefix PASSED" in done.stdout


def test_their_linter_is_content(updated: Updated) -> None:
    for command in (["check", "--no-cache"], ["format", "--no-cache", "--check"]):
        done = updated.run("ruff", *command, ".")

        assert done.returncode == 0, done.stdout + done.stderr
