"""Where both changed the same lines nothing is lost: both versions stand there, and are found."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.generate.project import GIT_ENVIRONMENT, copy, git, initialise
from tests.support import forks
from tests.support.process import ONLY_PYTEST, environment
from tests.update.releases import (
    THIS,
    Releases,
    append,
    commit,
    conflicts,
    move,
    stored,
    told,
    update,
    write,
)
from tests.update.trees import tree

EDITED = "src/personal_server/notes.py"
MOVED = "src/personal_server/qr.py"
BOTH = "docs/calendar.md"

CHANGES = (
    append(f"template/{EDITED}", "# a line of the release\n"),
    move(f"template/{MOVED}", "template/src/personal_server/codes/qr.py"),
    write(f"template/{BOTH}", "# Calendar, by the template\n"),
)


@pytest.fixture(scope="module")
def later(releases: Releases) -> str:
    """Returns a release that changes one file, moves one and adds one."""
    return releases.release("v9.0.0", *CHANGES)


class Told:
    """A project with edits in files of ours that was updated by the program, as a person does."""

    def __init__(self, releases: Releases, project: Path, **configuration: str) -> None:
        self.project = project
        copy(releases.folder, project, vcs_ref=THIS, project_name="kitchen-helper")
        initialise(project)
        for name in (EDITED, MOVED):
            with (project / name).open("a") as file:
                file.write("# a line of mine\n")
        (project / BOTH).write_text("# Calendar, by me\n")
        commit(project)
        for key, value in configuration.items():
            git(project, "config", f"status.{key}", value)
        self.done = told(project, "update", "--defaults")

    def pytest(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return forks.run(
            [sys.executable, "-m", "pytest", "-vv", "-p", "no:cacheprovider", *arguments],
            cwd=self.project,
            env=environment(self.project, **ONLY_PYTEST),
            timeout=120,
        )

    def line_of(self, name: str, text: str) -> int:
        return (self.project / name).read_text().splitlines().index(text) + 1


def run(command: str, project: Path) -> str:
    """Runs one line in a shell, as a person does; returns what it prints."""
    environment = os.environ | GIT_ENVIRONMENT
    done = subprocess.run(
        command, shell=True, cwd=project, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def updated(releases: Releases, later: str, tmp_path_factory: pytest.TempPathFactory) -> Told:
    return Told(releases, tmp_path_factory.mktemp("edited") / "my-server")


def test_the_update_ends_without_an_error_and_without_trust_and_says_what_to_do(
    updated: Told, later: str
) -> None:
    assert updated.done.returncode == 0, updated.done.stderr
    assert stored(updated.project)["_commit"] == later
    for said in ("git grep -nE", "uv sync && uv run pytest", "uv run verify.py http://localhost"):
        assert said in updated.done.stderr


@pytest.mark.parametrize(
    ("name", "mine", "shipped"),
    [
        (EDITED, "# a line of mine", "# a line of the release"),
        (BOTH, "# Calendar, by me", "# Calendar, by the template"),
    ],
    ids=["an edited file of ours", "a file that both added"],
)
def test_both_versions_stand_between_markers(
    updated: Told, name: str, mine: str, shipped: str
) -> None:
    lines = (updated.project / name).read_text().splitlines()

    between = lines[lines.index("<<<<<<< before updating") :]

    assert between == [
        "<<<<<<< before updating",
        mine,
        "=======",
        shipped,
        ">>>>>>> after updating",
    ]


def test_git_shows_the_files_as_unmerged(updated: Told) -> None:
    status = git(updated.project, "status", "--porcelain").splitlines()

    assert [line for line in status if "U" in line[:2] or "AA" in line[:2]] == [
        f"UU {BOTH}",
        f"UU {EDITED}",
    ]
    assert conflicts(updated.project) == [BOTH, EDITED]


def test_the_command_in_the_message_names_each_file_and_line(updated: Told) -> None:
    command = re.search(r"git grep .*", updated.done.stderr)
    assert command, updated.done.stderr

    found = run(command[0], updated.project)

    first = updated.line_of(EDITED, "<<<<<<< before updating")
    last = updated.line_of(EDITED, ">>>>>>> after updating")
    assert f"{EDITED}:{first}:<<<<<<< before updating\n" in found
    assert f"{EDITED}:{last}:>>>>>>> after updating\n" in found
    assert f"{BOTH}:1:<<<<<<< before updating\n" in found


def test_the_rendered_tests_fail_and_name_each_file_and_line(updated: Told) -> None:
    done = updated.pytest("tests/test_ours.py", "-k", "conflict")

    first = updated.line_of(EDITED, "<<<<<<< before updating")
    last = updated.line_of(EDITED, ">>>>>>> after updating")
    assert done.returncode == 1
    assert f"'{EDITED}': [{first}, {last}]" in done.stdout
    assert f"'{BOTH}': [1, 5]" in done.stdout
    assert "keep one, delete the markers" in done.stdout


def test_who_edited_a_file_that_is_moved_finds_it_without_the_edit(updated: Told) -> None:
    """Pins what Copier does, for `doctor` and docs/updating.md warn of it."""
    moved = (updated.project / "src/personal_server/codes/qr.py").read_text()

    assert not (updated.project / MOVED).exists()
    assert "# a line of mine" not in moved
    assert "# a line of mine" in git(updated.project, "show", f"HEAD:{MOVED}")


def test_who_has_edited_nothing_finds_a_moved_file_in_its_new_place(
    releases: Releases, later: str, project: Path, tmp_path: Path
) -> None:
    copy(releases.folder, tmp_path / "fresh", vcs_ref=later, project_name="kitchen-helper")

    update(project)

    assert tree(project) == tree(tmp_path / "fresh")


def test_the_commands_of_the_message_end_the_conflict(updated: Told, tmp_path: Path) -> None:
    project = tmp_path / "my-server"
    shutil.copytree(updated.project, project, symlinks=True)
    said = updated.done.stderr
    take, save = (
        re.search(r"git checkout .*", said),
        re.search(r"git add .* && git commit .*", said),
    )
    assert take, said
    assert save, said

    run(take[0].replace("THE/FILE", EDITED), project)
    mended = (project / BOTH).read_text().splitlines()
    (project / BOTH).write_text(f"{mended[1]}\n")
    run(save[0], project)

    assert (project / EDITED).read_text().endswith("\n# a line of the release\n")
    assert (project / BOTH).read_text() == "# Calendar, by me\n"
    assert conflicts(project) == []
    assert git(project, "status", "--porcelain") == ""


def test_the_command_of_the_message_undoes_the_whole_update(updated: Told, tmp_path: Path) -> None:
    project, committed = tmp_path / "my-server", tmp_path / "committed"
    shutil.copytree(updated.project, project, symlinks=True)
    git(tmp_path, "clone", "-q", str(updated.project), str(committed))
    undo = re.search(r"^ +(git .* && git clean .*)$", updated.done.stderr, re.MULTILINE)
    assert undo, updated.done.stderr

    run(undo[1], project)

    assert git(project, "status", "--porcelain") == ""
    assert tree(project) == tree(committed)


def test_lines_that_found_no_place_are_found_where_git_hides_new_files(
    releases: Releases, later: str, tmp_path: Path
) -> None:
    updated = Told(releases, tmp_path / "my-server", showUntrackedFiles="no")
    command = re.search(r"git grep .*", updated.done.stderr)
    assert command, updated.done.stderr

    found = run(command[0], updated.project).splitlines()
    done = updated.pytest("tests/test_ours.py", "-k", "aside")

    assert conflicts(updated.project) == []  # and without the search, nothing would tell
    assert set(found) == {f"{name}.rej" for name in (EDITED, MOVED, BOTH)}
    assert "+# a line of mine" in (updated.project / f"{EDITED}.rej").read_text()
    assert done.returncode == 1
    assert f"{EDITED}.rej" in done.stdout
