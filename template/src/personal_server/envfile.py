"""What `.env` says. Docker Compose reads it too, so what it takes for something else is refused."""

from __future__ import annotations

import re
from pathlib import Path

from dotenv.parser import Binding, parse_stream

PREFIX = "MCP_"

# Between which quotes Docker Compose and python-dotenv take which backslashes for different things.
READ_DIFFERENTLY = re.compile(r"""'.*\\\\|".*\\['abfv]""")


class SettingRefused(Exception):
    """A setting or an argument cannot be used; the message is the one sentence its owner reads."""


def written(file: Path) -> list[tuple[str, str]]:
    """Returns the settings in the file that have a value, as written; the last of a name counts.

    Raises:
        SettingRefused: One of them means something else to Docker Compose.
    """
    found: dict[str, str] = {}
    for binding in bindings(file):
        _refuse_ambiguous(binding, file)
        if binding.key and binding.key.upper().startswith(PREFIX):
            found[binding.key.upper()] = binding.value or ""
    return [(name, text) for name, text in found.items() if text]


def _refuse_ambiguous(binding: Binding, file: Path) -> None:
    """Refuses what Docker Compose, which reads the same file, would take for something else."""
    name = (binding.key or "").upper()
    if not name.startswith(PREFIX) or not binding.value:
        return
    text = binding.original.string.partition("=")[2].lstrip()
    if READ_DIFFERENTLY.search(text):
        raise SettingRefused(
            f"{name} in {file} has a backslash in its quotes that Docker Compose reads in another"
            " way: choose a value without it."
        )
    if "$" in binding.value and not text.startswith("'"):
        raise SettingRefused(
            f"{name} in {file} has a $ outside of single quotes, which Docker Compose replaces:"
            f" write {name}='...', with the value as it is between them."
        )


def bindings(file: Path) -> list[Binding]:
    """Returns the lines of the file; none when there is no file.

    Raises:
        SettingRefused: One of them cannot be read.
        UnicodeDecodeError: It is no text.
    """
    if not file.is_file():
        return []
    with file.open(encoding="utf-8") as stream:
        bindings = list(parse_stream(stream))
    for binding in bindings:
        if binding.error:
            raise SettingRefused(
                f"{file} cannot be read at line {binding.original.line}: write NAME=value, put a"
                " value that has a single quote in it in double quotes, and close every quote."
            )
    return bindings
