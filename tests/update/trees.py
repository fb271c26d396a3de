"""What lies in a project: each file and link, byte for byte."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from tests.generate.ownership import owners
from tests.generate.project import LEFT_BEHIND
from tests.update.releases import stored


class Entry(NamedTuple):
    kind: str  # "file", "program" or "link"
    content: bytes


Tree = dict[str, Entry]


def tree(project: Path) -> Tree:
    """Returns every file and link by its path in the project, git's own and caches left out."""
    found = {}
    for folder, folders, names in os.walk(project):
        links = [name for name in folders if Path(folder, name).is_symlink()]
        folders[:] = [name for name in folders if name not in LEFT_BEHIND]
        for name in names + links:
            path = Path(folder, name)
            found[str(path.relative_to(project))] = _entry(path)
    return found


def _entry(path: Path) -> Entry:
    if path.is_symlink():
        return Entry("link", os.fsencode(path.readlink()))
    return Entry("program" if os.access(path, os.X_OK) else "file", path.read_bytes())


def owned_as(owner: str, project: Path) -> Tree:
    """Returns what the table in copier.yml gives to one class: "seed", "shared" or "owned"."""
    package = stored(project)["package_name"]
    return {path: entry for path, entry in tree(project).items() if owner in owners(path, package)}
