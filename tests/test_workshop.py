"""The repository's own code is formatted, linted and typed, as is what a person receives."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.generate.project import copy, snapshot
from tests.support import forks
from tests.support.process import ONLY_PYTEST, environment

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return snapshot(tmp_path_factory.mktemp("template"))


CHECKS = {
    "formatted": ["ruff", "format", "--check", "."],
    "linted": ["ruff", "check", "."],
    "typed": ["mypy"],
    "verify.py typed": ["mypy", "template/verify.py"],
}


@pytest.mark.parametrize("name", CHECKS)
def test_the_code_is(name: str) -> None:
    tool, *arguments = CHECKS[name]

    done = subprocess.run(
        [sys.executable, "-m", tool, *arguments], cwd=ROOT, capture_output=True, text=True
    )

    assert done.returncode == 0, done.stdout + done.stderr


def test_a_rendered_is_typed(rendered: Path, tmp_path: Path) -> None:
    known = tmp_path / "known"
    if (ROOT / ".mypy_cache").exists():  # of the same libraries, and of the files that are the same
        shutil.copytree(ROOT / ".mypy_cache", known)

    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(known), "src"],
        cwd=rendered,
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("answers", "start"),
    [
        ({}, subprocess.Popen),
        ({"examples": [], "github": False, "tunnel": "none"}, forks.Popen),
        ({"examples": ["hello", "notes", "postgres"]}, forks.Popen),
    ],
    ids=["defaults", "as little as possible", "every example"],
)
def test_a_rendered_project_passes_its_own_tests(
    template: Path, tmp_path: Path, answers: dict[str, Any], start: type[subprocess.Popen[str]]
) -> None:
    project = tmp_path / "my-server"
    copy(template, project, **answers)

    with start(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=project,
        env=environment(project, **ONLY_PYTEST),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as tests:
        said, _ = tests.communicate()

    assert tests.returncode == 0, said
    assert " passed" in said
