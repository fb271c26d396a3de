"""A release is tagged only when all that makes one agrees. `make` stands in for the tests."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from personal_auth.version import __version__
from scripts import release
from tests.generate.project import GIT_ENVIRONMENT, ROOT, commit_all, git, initialise

VERSION = "template/src/personal_auth/version.py"
TODAY = f"{datetime.now(UTC):%Y-%m-%d}"

READY = {
    VERSION: '"""A version."""\n\n__version__ = "1.2.0"\n',
    "CHANGELOG.md": f"""# Changes

## [Unreleased]

## [1.2.0] - {TODAY}

### Added

- A `thing`, for $HOME.

### Fixed

# - Not a comment of git's.

## [1.1.0] - 2026-01-01

- An older thing.
""",
    "UPGRADING.md": "# Upgrading\n\nNothing.\n",
    "tests/update/answers/1.2.0.yml": "port: '8050'\n",
    "scripts/shipped.py": "",
}


@pytest.fixture
def ready(tmp_path: Path) -> Path:
    """A small repository in which 1.2.0 can be released after v1.1.0, and its remote."""
    repository, remote = tmp_path / "repository", tmp_path / "remote.git"
    (repository / "scripts").mkdir(parents=True)
    shutil.copy(ROOT / "scripts/release.py", repository / "scripts")
    for name, text in READY.items():
        write(repository, name, text)
    initialise(repository)
    git(repository, "tag", "v1.1.0")
    git(repository, "clone", "-q", "--bare", str(repository), str(remote))
    git(repository, "remote", "add", "origin", str(remote))
    return repository


def write(repository: Path, name: str, text: str) -> None:
    (repository / name).parent.mkdir(parents=True, exist_ok=True)
    (repository / name).write_text(text, "utf-8")


def run(
    repository: Path, *arguments: str, tests: str = "echo 1 passed", **variables: str
) -> subprocess.CompletedProcess[str]:
    """Runs the script with a `make` that says which target it was given, and then what is given."""
    stand_in = repository.with_name("bin") / "make"
    stand_in.parent.mkdir(exist_ok=True)
    stand_in.write_text(f'#!/bin/sh\necho "make $*"\n{tests}\n')
    stand_in.chmod(0o755)
    path = f"{stand_in.parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        [sys.executable, "scripts/release.py", *arguments],
        cwd=repository,
        env=os.environ | GIT_ENVIRONMENT | variables | {"PATH": path},
        capture_output=True,
        text=True,
    )


def test_what_agrees_is_tagged_with_its_part_of_the_changelog(ready: Path) -> None:
    done = run(ready, "1.2.0")

    assert done.returncode == 0, done.stderr
    assert git(ready, "cat-file", "-t", "v1.2.0") == "tag\n"
    assert git(ready, "rev-parse", "v1.2.0^{commit}") == git(ready, "rev-parse", "HEAD")
    assert git(ready, "tag", "--list", "--format=%(contents)", "v1.2.0") == (
        "1.2.0\n\n### Added\n\n- A `thing`, for $HOME.\n\n### Fixed\n\n"
        "# - Not a comment of git's.\n\n"
    )


def test_it_runs_the_tests_and_publishes_nothing_but_says_how(ready: Path) -> None:
    before = git(ready, "ls-remote", "origin")

    done = run(ready, "1.2.0")

    assert "make test\n1 passed\n" in done.stdout
    assert git(ready, "ls-remote", "origin") == before
    commands = [line.strip() for line in done.stdout.splitlines() if line.startswith("  ")]
    assert commands == [
        "git push --atomic origin main v1.2.0",
        "gh release create v1.2.0 --verify-tag --notes-from-tag",
    ]
    git(ready, *commands[0].split()[1:])
    assert "refs/tags/v1.2.0" in git(ready, "ls-remote", "origin")


def test_a_check_runs_no_test_and_makes_no_tag(ready: Path) -> None:
    done = run(ready, "--check", "1.2.0")

    assert done.returncode == 0, done.stderr
    assert done.stdout == "1.2.0 can be released once `make test` has passed.\n"
    assert git(ready, "tag", "--list") == "v1.1.0\n"


def test_failing_tests_prevent_the_tag(ready: Path) -> None:
    done = run(ready, "1.2.0", tests="echo 1 failed; exit 2")

    assert done.returncode == 1
    assert "1 failed" in done.stdout
    assert done.stderr.startswith("Nothing was tagged. The tests fail: mend")
    assert git(ready, "tag", "--list") == "v1.1.0\n"


def test_a_commit_that_is_made_during_the_tests_is_not_tagged(ready: Path) -> None:
    tested = git(ready, "rev-parse", "HEAD")

    run(ready, "1.2.0", tests="git commit -q --allow-empty -m later")

    assert git(ready, "rev-parse", "v1.2.0^{commit}") == tested


def test_files_that_are_changed_during_the_tests_prevent_the_tag(ready: Path) -> None:
    done = run(ready, "1.2.0", tests="echo >> UPGRADING.md")

    assert done.stderr.startswith("Nothing was tagged. Files were changed while the tests ran")
    assert git(ready, "tag", "--list") == "v1.1.0\n"


@pytest.mark.parametrize(
    "variable", ["ARGS", "MAKEFLAGS", "MAKEOVERRIDES", "MFLAGS", "PYTEST_ADDOPTS"]
)
def test_nothing_makes_it_test_less(ready: Path, variable: str) -> None:
    done = run(ready, "1.2.0", tests=f'echo "[${variable}]"', **{variable: "n"})

    assert "\n[]\n" in done.stdout


@pytest.mark.parametrize("version", ["", "1.2", "v1.2.0", "1.2.0rc1", "1.2.0.1", "01.2.0", "1.2.x"])
def test_only_three_numbers_are_a_version(ready: Path, version: str) -> None:
    done = run(ready, version)

    assert done.returncode == 1
    assert "make release VERSION=1.0.0" in done.stderr


Change = Callable[[Path], object]


def edit(name: str, old: str, new: str) -> Change:
    assert READY[name].count(old) == 1
    return lambda repository: write(repository, name, READY[name].replace(old, new))


def shipped(code: str) -> Change:
    return lambda repository: write(repository, "scripts/shipped.py", f"import sys\n{code}\n")


def on_the_remote_alone(repository: Path) -> None:
    git(repository, "push", "-q", "origin", "HEAD:refs/tags/v1.2.0")


REFUSALS: dict[str, tuple[str, Change, str]] = {
    "of another branch": (
        "1.2.0",
        lambda repository: git(repository, "switch", "-q", "-c", "topic"),
        "This is topic, and releases are made of main: git switch main.",
    ),
    "of a tag that exists": (
        "1.2.0",
        lambda repository: git(repository, "tag", "v1.2.0"),
        "v1.2.0 is tagged, and no published tag may move: choose the next version.",
    ),
    "of a tag that exists on the remote": (
        "1.2.0",
        on_the_remote_alone,
        "v1.2.0 is tagged, and no published tag may move: choose the next version.",
    ),
    "after a later one": (
        "1.2.0",
        lambda repository: git(repository, "tag", "v1.10.0"),
        "1.2.0 comes before v1.10.0, the last one: choose a later one.",
    ),
    "of another version than the module's": (
        "1.2.0",
        edit(VERSION, "1.2.0", "1.1.0"),
        f'{VERSION} states another version: write __version__ = "1.2.0" into it.',
    ),
    "without a section": (
        "1.2.0",
        edit("CHANGELOG.md", "[1.2.0]", "[1.3.0]"),
        "CHANGELOG.md has no section of 1.2.0: begin one, ## [1.2.0] - YYYY-MM-DD.",
    ),
    "with an empty section": (
        "1.2.0",
        edit("CHANGELOG.md", "- A `thing`, for $HOME.", ""),
        "CHANGELOG.md has no entry for 1.2.0: say what it changes for a server's owner.",
    ),
    "with a group of another name": (
        "1.2.0",
        edit("CHANGELOG.md", "### Fixed", "### Fixes"),
        "CHANGELOG.md has a group Fixes: choose among Added, Changed, Deprecated, Removed, Fixed,"
        " Security.",
    ),
    "of another day": (
        "1.2.0",
        edit("CHANGELOG.md", TODAY, "2026-01-31"),
        f"CHANGELOG.md dates 1.2.0 to 2026-01-31: write {TODAY}, which is today (UTC).",
    ),
    "with something unreleased": (
        "1.2.0",
        edit("CHANGELOG.md", "## [Unreleased]\n", "## [Unreleased]\n\n- A thing.\n"),
        "CHANGELOG.md has entries under Unreleased: move them into the section of 1.2.0.",
    ),
    "without the answers of a project": (
        "1.2.0",
        lambda repository: (repository / "tests/update/answers/1.2.0.yml").unlink(),
        "tests/update/answers/1.2.0.yml is missing: write into it what a project of this release"
        " has stored.",
    ),
    "with hashes of other files": (
        "1.2.0",
        shipped("sys.exit('--check' in sys.argv)"),
        "The list of what is shipped is stale: `make shipped` writes it anew.",
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_there_is_no_release(ready: Path, case: str) -> None:
    version, change, sentence = REFUSALS[case]
    change(ready)
    if git(ready, "status", "--porcelain"):
        commit_all(ready)
    before = git(ready, "tag", "--list")

    done = run(ready, version)

    assert done.returncode == 1
    assert done.stderr == f"Nothing was tagged. It is not ready:\n  {sentence}\n"
    assert done.stdout == ""
    assert git(ready, "tag", "--list") == before


def test_there_is_no_release_of_what_is_not_committed(ready: Path) -> None:
    write(ready, "new.txt", "")

    done = run(ready, "1.2.0")

    assert done.returncode == 1
    assert "Some changes are not committed: commit them, or put them away" in done.stderr


@pytest.mark.parametrize(
    ("upgrading", "is_ready"),
    [
        ("# Upgrading\n", False),
        ("# Upgrading\n\n## 2.0.0\n\n## 1.0.0\n\nNothing.\n", False),
        ("# Upgrading\n\n## 2.0.0\n\nDo this.\n\n## 1.0.0\n", True),
    ],
    ids=["without a section", "with an empty one", "with one"],
)
def test_a_major_release_says_what_a_person_has_to_do(
    ready: Path, upgrading: str, is_ready: bool
) -> None:
    for name in (VERSION, "CHANGELOG.md"):
        write(ready, name, READY[name].replace("1.2.0", "2.0.0"))
    write(ready, "tests/update/answers/2.0.0.yml", "")
    write(ready, "UPGRADING.md", upgrading)
    commit_all(ready)

    done = run(ready, "--check", "2.0.0")

    assert (done.returncode == 0) == is_ready
    assert ("UPGRADING.md does not say what 2.0.0 asks" in done.stderr) != is_ready


def test_all_that_is_missing_is_said_at_once(ready: Path) -> None:
    git(ready, "switch", "-q", "-c", "topic")

    done = run(ready, "1.3.0")

    assert done.stderr.count("\n  ") == 4


def test_a_remote_that_does_not_answer_stops_it(ready: Path) -> None:
    git(ready, "remote", "set-url", "origin", str(ready.with_name("gone.git")))

    done = run(ready, "1.2.0")

    assert done.returncode == 1
    assert done.stderr.startswith("Nothing was tagged. git ls-remote failed: mend what it names")


def test_a_repository_without_a_remote_can_be_released(ready: Path) -> None:
    git(ready, "remote", "remove", "origin")

    assert run(ready, "1.2.0").returncode == 0


def test_the_files_of_this_commit_agree_on_its_version() -> None:
    """At every commit, so that it shows long before the release."""
    found = list(release.disagreements(__version__))

    if release.section("Unreleased").text:  # the version's own section is still to come
        found = [sentence for sentence in found if "CHANGELOG.md has no section" not in sentence]
    assert found == []


def test_every_section_of_the_changelog_is_dated_and_in_its_order() -> None:
    headings = re.findall(r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)

    assert headings[0] == "[Unreleased]"
    versions = [
        re.fullmatch(r"\[(\d+\.\d+\.\d+)\] - \d{4}-\d\d-\d\d", line) for line in headings[1:]
    ]
    assert all(versions)
    numbers = [release.number(version[1]) for version in versions if version]
    assert numbers == sorted(numbers, reverse=True)


def test_two_states_of_the_template_never_carry_one_version() -> None:
    tag = f"v{__version__}"
    if tag in git(ROOT, "tag", "--list").split():
        rendered = ["template", "copier.yml", "questions.jinja"]

        changed = git(ROOT, "diff", "--name-only", tag, "HEAD", "--", *rendered).split()

        assert changed == [], f"{tag} is out: raise the version with the first change after it"
