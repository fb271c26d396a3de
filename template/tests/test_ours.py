"""What the template keeps current is there, and no update has left a conflict.

Whoever has to keep a change of that code for a while leaves its test out in a `pytest.ini`:
`addopts = --deselect tests/test_ours.py::test_the_code_of_the_template_is_as_it_was_shipped`.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LEFT_OUT = {".git", ".venv", "node_modules", "__pycache__", ".oauth-state", "data"}
MARKERS = (b"<" * 7 + b" ", b">" * 7 + b" ")  # a line of = alone underlines a heading


def project_files() -> list[Path]:
    """The files that git tracks; without git, all that are not installed or written by running."""
    try:
        git = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
        tracked = [ROOT / name for name in os.fsdecode(git.stdout).split("\0") if name]
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


def test_no_update_has_put_lines_of_yours_aside() -> None:
    rejected = (path.relative_to(ROOT) for path in ROOT.rglob("*.rej"))
    left = [str(path) for path in rejected if not LEFT_OUT & set(path.parts)]

    assert left == [], "put these lines into the file without .rej, and delete the .rej file"


def test_the_code_of_the_template_is_as_it_was_shipped() -> None:
    from personal_server import shipped

    differs = [*shipped.changed(ROOT), *shipped.gone(ROOT)]

    assert shipped.listed(), "the list of the template's files is gone: see the command `doctor`"
    assert [path for path in differs if path.startswith("src/")] == [], (
        "an update may conflict with this change or lose it: the command `doctor` says what to do"
    )
