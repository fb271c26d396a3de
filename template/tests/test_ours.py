"""What the template keeps current is there, and no update has left a conflict.

Whoever has to keep a change of that code for a while leaves its test out in a `pytest.ini`:
`addopts = --deselect tests/test_ours.py::test_the_code_of_the_template_is_as_it_was_shipped`.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
OURS = ["src/personal_auth", "src/personal_server", "src/personal_verify", "docs", "tests"]
LEFT_OUT = {".git", ".venv", "node_modules", "__pycache__", ".oauth-state", "data"}
MARKERS = (b"<" * 7 + b" ", b">" * 7 + b" ")  # a line of = alone underlines a heading


def project_files() -> list[Path]:
    """The files that git tracks; without git, all that are not installed or written by running."""
    try:
        git = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
        tracked = [ROOT / name for name in git.stdout.decode().split("\0") if name]
    except OSError:  # git is not installed
        tracked = []
    if not tracked:
        everything = (path.relative_to(ROOT) for path in ROOT.rglob("*"))
        tracked = [ROOT / path for path in everything if not LEFT_OUT & set(path.parts)]
    return [path for path in tracked if path.is_file()]


def marked_lines(path: Path) -> list[int]:
    lines = enumerate(path.read_bytes().splitlines(), start=1)
    return [number for number, line in lines if line.startswith(MARKERS)]


def test_no_update_has_left_a_conflict() -> None:
    files = project_files()
    marked = {str(path.relative_to(ROOT)): marked_lines(path) for path in files}

    assert files
    assert {path: lines for path, lines in marked.items() if lines} == {}, (
        "both versions stand between the markers: keep one, delete the markers"
    )


@pytest.mark.parametrize("folder", OURS)
def test_what_the_template_keeps_current_is_there(folder: str) -> None:
    assert any((ROOT / folder).iterdir()), "`uvx copier recopy` brings it back"


def test_the_code_of_the_template_is_as_it_was_shipped() -> None:
    from personal_server import shipped

    changed = [path for path in shipped.changed(ROOT) if path.startswith("src/")]

    assert changed == [], (
        "an update may conflict with this change or lose it: the command `doctor` says what to do"
    )
