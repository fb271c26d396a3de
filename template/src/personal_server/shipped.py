"""Which of the files that the template keeps current differ here from what it shipped.

`copier update` merges a change of such a file, ends in a conflict on the same lines, and loses the
change without a word where the template has moved or removed the file. So it is said beforehand.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

PATH = "src/personal_server/shipped.sha256"
LIST = Path(__file__).with_name("shipped.sha256")  # as sha256sum writes it, of lines that end in LF


def listed() -> dict[str, str]:
    """Returns the SHA-256 of each shipped file by its path, as far as the list can be read."""
    try:
        lines = LIST.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return {}
    rows = (line.split("  ", 1) for line in lines)
    return {row[1]: row[0] for row in rows if len(row) == 2}


def changed(root: Path) -> list[str]:
    """Returns the paths of the shipped files that hold something else in this project."""
    return [path for path, sha256 in listed().items() if _digest(root / path) not in {sha256, None}]


def gone(root: Path) -> list[str]:
    """Returns the paths of the shipped files that are not in this project."""
    return [path for path in listed() if not (root / path).is_file()]


def _digest(file: Path) -> str | None:
    """Returns the SHA-256 of a file, None where there is none that can be read."""
    try:
        return hashlib.sha256(file.read_bytes().replace(b"\r\n", b"\n")).hexdigest()
    except OSError:
        return None
