"""Renders the template as a person would: from a git repository, without --trust."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.generate.project import copy, questions_alone, snapshot

Render = Callable[..., Path]
Ask = Callable[..., dict[str, Any]]


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stand in for the repository: a clone of the working tree, to be read only."""
    return snapshot(tmp_path_factory.mktemp("template"))


@pytest.fixture(scope="session")
def render(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Render:
    """Render a set of answers once. The result is shared: copy it before you change it."""
    rendered: dict[str, Path] = {}

    def render(**answers: object) -> Path:
        key = repr(sorted(answers.items()))
        if key not in rendered:
            rendered[key] = tmp_path_factory.mktemp("project") / "my-server"
            copy(template, rendered[key], **answers)
        return rendered[key]

    return render


@pytest.fixture(scope="session")
def ask(tmp_path_factory: pytest.TempPathFactory) -> Ask:
    """Answer the questions without a render; returns what the answers file then holds."""
    questions = questions_alone(tmp_path_factory.mktemp("questions"))
    target = tmp_path_factory.mktemp("asked") / "project"

    def ask(**answers: object) -> dict[str, Any]:
        shutil.rmtree(target, ignore_errors=True)
        try:
            copy(questions, target, **answers)
        except Exception:
            assert not target.exists(), "a refused answer must not create anything"
            raise
        stored: dict[str, Any] = yaml.safe_load((target / ".copier-answers.yml").read_text())
        return stored

    return ask
