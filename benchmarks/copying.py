"""What it takes to make a project out of the template, and to bring one to the next release.

Each is a process, as a person starts it, with a repository on this machine instead of a host. The
peers: the same Copier with a template of one question and one file, where nearly all is the start
of Copier itself; and with the very files that the template comes to, copied as they are, which is
what Copier takes for so many files whatever stands in the template.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.measure import WALL, Goal, Row, Scale, Way, in_turns, ratios, row
from tests.generate.project import (
    GIT_ENVIRONMENT,
    ROOT,
    commit_all,
    copy,
    copy_working_tree,
    files,
    git,
    initialise,
    questions_alone,
)

RELEASE, NEXT = "v1.0.0", "v1.1.0"
ONE_QUESTION = "_subdirectory: template\nname:\n  type: str\n  default: world\n"


def released(folder: Path, whole: bool) -> Path:
    """Makes the template's repository with a release and a next one, or its questions alone."""
    if whole:
        git(folder.parent, "clone", "-q", "--no-local", str(ROOT), folder.name)
        for tag in git(folder, "tag").split():
            git(folder, "tag", "-d", tag)
        copy_working_tree(folder)
    else:
        folder.mkdir()
        git(questions_alone(folder), "init", "-q")
    page = folder / "template" / "CHANGES.md.jinja"
    for tag in (RELEASE, NEXT):
        page.write_text(f"# {{{{ project_name }}}}\n\nThis is {tag}.\n", "utf-8")
        commit_all(folder, tag)
        git(folder, "tag", tag)
    return folder


def plain(folder: Path, project: Path | None) -> Path:
    """Makes the repository of a template that copies a project, or that has one file alone."""
    target = folder / "template"
    if project:
        for name in files(project):
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(project / name, target / name)
    else:
        target.mkdir(parents=True)
        (target / "hello.txt.jinja").write_text("Hello {{ name }}\n", "utf-8")
    (folder / "copier.yml").write_text(ONE_QUESTION, "utf-8")
    initialise(folder)
    git(folder, "tag", RELEASE)
    return folder


def copier(folder: Path, *arguments: str) -> float:
    """Runs the program in a folder; returns the seconds that it takes."""
    command = [sys.executable, "-m", "copier", *arguments]
    environment = os.environ | GIT_ENVIRONMENT
    began = WALL()
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)  # noqa: S603
    took = WALL() - began
    assert done.returncode == 0, done.stderr
    return took


def copying(template: Path) -> Way:
    """Returns the way that makes a project out of the newest release, with the default answers."""

    def run() -> float:
        with tempfile.TemporaryDirectory(dir=template.parent) as folder:
            return copier(Path(folder), "copy", "--defaults", str(template), "project")

    return run


def updating(project: Path) -> Way:
    """Returns the way that brings a committed project from its release to the newest one."""

    def run() -> float:
        with tempfile.TemporaryDirectory(dir=project.parent) as folder:
            copied = shutil.copytree(project, Path(folder) / "project")
            took = copier(copied, "update", "--defaults")
            assert NEXT in (copied / "CHANGES.md").read_text("utf-8")
            return took

    return run


def rows(scale: Scale) -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        template = released(folder / "released", whole=not scale.quick)
        project = folder / "project"
        copy(template, project, vcs_ref=RELEASE)
        same, one = plain(folder / "same", project), plain(folder / "one", None)
        initialise(project)
        ways = copying(template), copying(one), copying(same), updating(project)
        ours, small, many, update = in_turns(scale, *ways)
    peer = "Copier with a template of one file"
    yield row("copying", "copier copy", peer, ratios(ours, small), Goal(most=2))
    peer = "Copier with the same files, none rendered"
    yield row("copying", "copier copy of as many files", peer, ratios(ours, many), Goal(most=1.3))
    peer = "copier copy"
    yield row("copying", "copier update, next release", peer, ratios(update, ours), Goal(most=2))
