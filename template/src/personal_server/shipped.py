"""Which of the files that the template keeps current differ here from what it shipped.

`copier update` merges a change of such a file, ends in a conflict on the same lines, and loses the
change without a word where the template has moved the file. So it is said beforehand.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

LIST = Path(__file__).with_name("shipped.sha256")  # as sha256sum writes it, of lines that end in LF


def changed(root: Path) -> list[str]:
    """Returns the paths of the shipped files that hold something else in this project."""
    lines = (line.split("  ", 1) for line in LIST.read_text(encoding="utf-8").splitlines())
    return [path for digest, path in lines if _digest(root / path) not in {digest, None}]


def _digest(file: Path) -> str | None:
    """Returns the SHA-256 of a file, None where there is none that can be read."""
    try:
        return hashlib.sha256(file.read_bytes().replace(b"\r\n", b"\n")).hexdigest()
    except OSError:
        return None
