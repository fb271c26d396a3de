"""The files below deploy/ of a project, rendered without the rest of it."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.generate.project import ROOT, copy, questions_alone


def deploy_alone(folder: Path, **answers: str) -> Path:
    """Renders the files below deploy/ for some answers; returns their folder."""
    source, project = folder / "template", folder / "project"
    if not source.exists():
        source.mkdir(parents=True)
        questions_alone(source)
        shutil.copytree(ROOT / "template/deploy", source / "template/deploy")
    shutil.rmtree(project, ignore_errors=True)
    copy(source, project, **answers)
    return project / "deploy"


def changed(text: str, *changes: tuple[str, str]) -> str:
    """Returns a file with what a test has to change in it; each place is there exactly once."""
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text
