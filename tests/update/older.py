"""Releases before the first one, made up: they differ from today's in files of each class.

v0.8.0 is far away: whole folders were not there, files lay elsewhere, most files of ours read
otherwise, a question did not exist and another had fewer choices. v0.9.0 is one step away.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from tests.generate.project import git
from tests.update.releases import Change, Releases, append, configure, delete, move, write

THEIRS = ("template/README.md", "template/src/{{package_name}}/")
SHARED = ("template/pyproject.toml", "template/.gitignore", "template/.dockerignore")
ANSWERS_FILE = "template/{{_copier_conf.answers_file}}"


UNASKED = {"v0.8.0": {"github"}}  # the questions that a release did not have


def other_lines(template: Path) -> None:
    """Leaves out the middle of each file of ours, and writes something at both of its ends."""
    for name in git(template, "ls-files", "-z", "template").split("\0")[:-1]:
        if name.startswith((*THEIRS, *SHARED, ANSWERS_FILE)) or not (template / name).is_file():
            continue
        lines = (template / name).read_text("utf-8").splitlines()
        third = len(lines) // 3 if name.endswith(".py") else 0  # the blocks of Jinja stay closed
        kept = lines[: len(lines) - 2 * third] + lines[len(lines) - third :]
        text = "\n".join(["how it began", *kept, "how it ended", ""])
        (template / name).write_text(text, "utf-8")


def other_bounds(template: Path) -> None:
    path = template / "template/pyproject.toml.jinja"
    text, count = re.subn(r'"([a-z]+)>=[^"]+",', r'"\1>=0.1",', path.read_text("utf-8"))
    assert count >= 4, text
    path.write_text(text, "utf-8")


def first_line_of(name: str, line: str) -> Change:
    def change(template: Path) -> None:
        path = template / name
        path.write_text(f"{line}\n{path.read_text('utf-8')}", "utf-8")

    return change


def fewer_questions(copier: dict[str, Any]) -> None:
    """Makes a constant of one question, so that nothing of it is stored, and drops a choice."""
    for name in UNASKED["v0.8.0"]:
        copier[name] = {**copier[name], "when": False}
    del copier["clients"]["choices"]["VS Code"]


FAR = (
    other_lines,
    other_bounds,
    first_line_of("template/.gitignore", "# As it was long ago."),
    first_line_of("template/.dockerignore", "# As it was long ago."),
    configure(fewer_questions),
    delete("template/src/personal_verify"),
    delete("template/verify.py"),
    delete("template/docs/troubleshooting.md.jinja"),
    move("template/docs/clients.md.jinja", "template/docs/connecting/apps.md.jinja"),
    move("template/src/personal_server/logs.py", "template/src/personal_server/old/logs.py"),
    write("template/Makefile", "run:\n\tpython -m personal_server\n"),
    write("template/docs/first steps/é.md", "Gone since.\n"),
)

NEAR = (
    other_bounds,
    append("template/Dockerfile.jinja", "# one line more\n"),
    append("template/docs/updating.md.jinja", "One line more.\n"),
    append("template/src/personal_auth/grants.py", "# one line more\n"),
    append("template/src/{{package_name}}/extend.py", "# one line more in a seed\n"),
)


def make(releases: Releases) -> list[str]:
    """Makes both in a clone; returns their tags."""
    return [releases.apart("v0.8.0", *FAR), releases.apart("v0.9.0", *NEAR)]
