"""The template's releases, as a repository that `copier` takes them from: real tags of a clone."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import copier
import yaml

from personal_auth.version import __version__
from tests.generate.project import ROOT, commit_all, copy_working_tree, git
from tests.support import forks
from tests.support.copying import AS_A_PERSON, lighter

ANSWERS = Path(__file__).with_name("answers")  # what a project of each release has stored
UNREAD = "tests/"  # left out: the template does not read it, and each update would copy it

Change = Callable[[Path], None]


def being_prepared() -> str:
    """Returns the tag that the working tree is going to have; the next patch after a release."""
    *series, patch = __version__.split(".")
    released_already = git(ROOT, "tag", "--list", f"v{__version__}").strip()
    return ".".join([f"v{series[0]}", *series[1:], str(int(patch) + bool(released_already))])


THIS = being_prepared()


def released() -> list[str]:
    """Returns the tag of each release, the oldest first; each has its file in `answers/`."""
    versions = [path.stem for path in ANSWERS.glob("*.yml")]
    versions.sort(key=lambda version: [int(part) for part in version.split(".")])
    return [f"v{version}" for version in versions]


def answered(tag: str) -> dict[str, Any]:
    """Returns what a project of a release has answered, each by something else than the default."""
    text = (ANSWERS / f"{tag.removeprefix('v')}.yml").read_text("utf-8")
    stored: dict[str, Any] = yaml.safe_load(text)
    return {name: stored[name] for name in stored if name not in {"_commit", "package_born"}}


class Releases:
    """A clone of this repository with its tags, whose newest release is the working tree."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        git(folder.parent, "clone", "-q", "--no-local", str(ROOT), str(folder))
        git(folder, "checkout", "-q", "-B", "main")
        for line in git(folder, "tag", "--no-merged", "HEAD").split():
            git(folder, "tag", "-d", line)
        missing = [tag for tag in released() if tag not in (*self.tags(), THIS)]
        assert not missing, f"{missing} cannot be rendered: bring them here with `git fetch --tags`"
        for path in folder.iterdir():
            if path.name != ".git":
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        copy_working_tree(folder, without=UNREAD)
        self.release(THIS)

    def tags(self) -> list[str]:
        return git(self.folder, "tag", "--list", "v*").split()

    def release(self, tag: str, *changes: Change) -> str:
        """Makes a further release of the newest commit with some changes; returns its tag."""
        for change in changes:
            change(self.folder)
        if changes:  # as `make shipped` does, without which nothing is released
            subprocess.run([sys.executable, "scripts/shipped.py"], cwd=self.folder, check=True)
        git(self.folder, "add", "-A")
        git(self.folder, "commit", "-q", "--allow-empty", "-m", tag)
        git(self.folder, "tag", tag)
        return tag

    def apart(self, tag: str, *changes: Change) -> str:
        """Makes a release as `release` does, which no later one builds upon; returns its tag."""
        self.release(tag, *changes)
        git(self.folder, "checkout", "-q", "main")
        git(self.folder, "reset", "-q", "--hard", "HEAD~1")
        return tag


def replace(name: str, old: str, new: str) -> Change:
    """Returns a change of one file, in which the old text stands exactly once."""

    def change(template: Path) -> None:
        text = (template / name).read_text("utf-8")
        assert text.count(old) == 1, (name, old)
        (template / name).write_text(text.replace(old, new), "utf-8")

    return change


def append(name: str, text: str) -> Change:
    """Returns a change that ends one file with some text."""

    def change(template: Path) -> None:
        (template / name).write_text((template / name).read_text("utf-8") + text, "utf-8")

    return change


def write(name: str, text: str) -> Change:
    """Returns a change that adds or overwrites one file."""

    def change(template: Path) -> None:
        (template / name).parent.mkdir(parents=True, exist_ok=True)
        (template / name).write_text(text, "utf-8")

    return change


def delete(name: str) -> Change:
    """Returns a change that deletes one file or folder."""

    def change(template: Path) -> None:
        path = template / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()

    return change


def move(old: str, new: str) -> Change:
    """Returns a change that moves one file."""

    def change(template: Path) -> None:
        (template / new).parent.mkdir(parents=True, exist_ok=True)
        (template / old).rename(template / new)

    return change


def configure(alter: Callable[[dict[str, Any]], Any]) -> Change:
    """Returns a change of copier.yml, whose questions and settings it alters as they are parsed."""

    def change(template: Path) -> None:
        path = template / "copier.yml"
        parsed = yaml.safe_load(path.read_text("utf-8"))
        alter(parsed)
        text = yaml.safe_dump(parsed, sort_keys=False, allow_unicode=True, width=1000)
        path.write_text(text, "utf-8")

    return change


def update(project: Path, *, to: str | None = None, **answers: object) -> None:
    """Updates as `copier update --defaults` does, without --trust."""
    with lighter():
        copier.run_update(project, data=answers, vcs_ref=to, overwrite=True, **AS_A_PERSON)


def told(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs the program itself in a project, for what it says: `copier update --defaults`."""
    return forks.run([sys.executable, "-m", "copier", *arguments], cwd=project)


def stored(project: Path) -> dict[str, Any]:
    """Returns the answers file of a project."""
    answers: dict[str, Any] = yaml.safe_load((project / ".copier-answers.yml").read_text("utf-8"))
    return answers


def conflicts(project: Path) -> list[str]:
    """Returns the files in which an update left both versions between markers."""
    command = ["git", "grep", "-lzE", "^(<<<<<<<|>>>>>>>) "]
    found = subprocess.run(command, cwd=project, capture_output=True, text=True)
    assert found.returncode in {0, 1}, found.stderr
    return [name for name in found.stdout.split("\0") if name]


def commit(project: Path, message: str = "A commit") -> str:
    """Commits everything in a project; returns the commit."""
    commit_all(project, message)
    return git(project, "rev-parse", "HEAD").strip()
