"""The repository's own code is formatted, linted and typed, as is what a person receives."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.generate.project import copy, snapshot
from tests.support.process import environment

ROOT = Path(__file__).parents[1]

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


def test_a_rendered_is_typed(rendered: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--cache-dir", "/dev/null", "src"],
        cwd=rendered,
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    "answers",
    [
        {},
        {"examples": [], "github": False, "tunnel": "none"},
        {"examples": ["hello", "notes", "postgres"]},
    ],
    ids=["defaults", "as little as possible", "every example"],
)
def test_a_rendered_project_passes_its_own_tests(tmp_path: Path, answers: dict[str, Any]) -> None:
    project = tmp_path / "my-server"
    copy(snapshot(tmp_path / "template"), project, **answers)

    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=project,
        env=environment(project),
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout
