"""What the tests of the template do with repositories and projects."""

import os
import shutil
import subprocess
from pathlib import Path

import copier

from tests.support.copying import AS_A_PERSON, lighter

ROOT = Path(__file__).resolve().parents[2]

# An identity of its own, and nothing of the person's configuration.
GIT_ENVIRONMENT = {
    "GIT_AUTHOR_NAME": "tests",
    "GIT_AUTHOR_EMAIL": "tests@example.com",
    "GIT_COMMITTER_NAME": "tests",
    "GIT_COMMITTER_EMAIL": "tests@example.com",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
}

LEFT_BEHIND = {".git", ".venv", "__pycache__", ".mypy_cache", ".pytest_cache", ".ruff_cache"}


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments],
        cwd=folder,
        env=os.environ | GIT_ENVIRONMENT,
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout


def commit_all(folder: Path, message: str = "A commit") -> None:
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", message)


def initialise(folder: Path) -> None:
    git(folder, "init", "-q", "-b", "main")
    commit_all(folder)


def copy_working_tree(target: Path, *, without: str | None = None) -> None:
    """Copy what git tracks or would, with uncommitted changes; one folder may be left out."""
    for name in git(ROOT, "ls-files", "-co", "--exclude-standard", "-z").split("\0"):
        if name and (ROOT / name).is_file() and not (without and name.startswith(without)):
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)


def snapshot(target: Path) -> Path:
    """Copy the working tree with its uncommitted changes into a repository of its own."""
    copy_working_tree(target)
    initialise(target)
    return target


def questions_alone(target: Path) -> Path:
    """Copy the questions and what stores their answers: a template that is rendered at once."""
    (target / "template").mkdir()
    answers_file = "template/{{_copier_conf.answers_file}}.jinja"
    for name in ("copier.yml", "questions.jinja", answers_file):
        shutil.copy(ROOT / name, target / name)
    return target


def copy(source: Path, target: Path, *, vcs_ref: str = "HEAD", **answers: object) -> None:
    """Render as `copier copy --defaults` does, without --trust."""
    with lighter():
        copier.run_copy(str(source), target, data=answers, vcs_ref=vcs_ref, **AS_A_PERSON)


def files(project: Path) -> list[Path]:
    """List every rendered file, relative to the project; not what running it left behind."""
    paths = (path.relative_to(project) for path in project.rglob("*") if path.is_file())
    return sorted(path for path in paths if not LEFT_BEHIND & set(path.parts))


def contents(project: Path) -> dict[Path, bytes]:
    return {path: (project / path).read_bytes() for path in files(project)}
