"""The very command of the README, with a repository that stands in for the one at GitHub."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.generate.project import GIT_ENVIRONMENT, ROOT, initialise, questions_alone

COMMANDS = re.search(r"^uvx (copier copy \S+) my-server$", (ROOT / "README.md").read_text(), re.M)
ADDRESS = "https://github.com/OWNER/copier-personal-mcp.git"


def copier(*arguments: str, template: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """Runs Copier with a git that finds the template where GitHub would be."""
    elsewhere = {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.{template}.insteadOf",
        "GIT_CONFIG_VALUE_0": ADDRESS,
    }
    return subprocess.run(
        [sys.executable, "-m", "copier", *arguments],
        cwd=folder,
        env=os.environ | GIT_ENVIRONMENT | elsewhere,
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="module")
def questions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository of the questions and what stores their answers."""
    repository = questions_alone(tmp_path_factory.mktemp("questions"))
    initialise(repository)
    return repository


@pytest.mark.parametrize(
    "source",
    ["gh:OWNER/copier-personal-mcp", "gh:OWNER/copier-personal-mcp.git", ADDRESS],
)
def test_the_source_is_stored_as_an_address_that_every_program_understands(
    questions: Path, tmp_path: Path, source: str
) -> None:
    command = ["copy", "--defaults", "--quiet", source, "my-server"]

    done = copier(*command, template=questions, folder=tmp_path)

    assert done.returncode == 0, done.stderr
    project = tmp_path / "my-server"
    assert yaml.safe_load((project / ".copier-answers.yml").read_text())["_src_path"] == ADDRESS
    initialise(project)
    updated = copier("update", "--defaults", template=questions, folder=project)
    assert updated.returncode == 0, updated.stderr


def test_the_readme_names_the_source_by_its_short_name() -> None:
    assert COMMANDS
    assert COMMANDS[1] == "copier copy gh:OWNER/copier-personal-mcp"
