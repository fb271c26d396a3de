"""Copier in this process, which finds out once what every run of it finds out again.

A run has Jinja compile some 1,500 texts, nearly all of them parts of paths and rules of questions,
parses the questions, and asks git about its `core.fileMode` with every file: more than half of its
time. What comes of it depends on the text, or the folder, alone, and is kept here. The rest is done
each time: what is rendered, cloned, compared and merged.

The program itself runs without this: releases.told starts it, and so do the journeys.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from copier import Settings, _main, _template
from copier._jinja_ext import SandboxedEnvironment

_compiled: dict[tuple[object, ...], Any] = {}
_parsed: dict[bytes, dict[str, Any]] = {}


class Environment(SandboxedEnvironment):
    """Copier's environment of Jinja, which compiles a text once."""

    def compile(
        self,
        source: Any,
        name: str | None = None,
        filename: str | None = None,
        raw: bool = False,
        defer_init: bool = False,
    ) -> Any:
        key = (source, name, raw, defer_init, self.lexer, self.undefined, self.autoescape)
        if key in _compiled:
            self.preprocess(source, name, filename)  # with which Copier's extension begins anew
        else:
            _compiled[key] = super().compile(source, name, filename, raw, defer_init)
        return _compiled[key]


def parse(path: Path, quiet: bool = False) -> dict[str, Any]:
    """Returns what a copier.yml holds, parsed once; it includes no other file."""
    text = path.read_bytes()
    assert b"!include" not in text
    if text not in _parsed:
        _parsed[text] = _load(path, quiet)
    return copy.deepcopy(_parsed[text])


def _sync(worker: Any, path: Path, mode: int) -> None:
    """Tells git's index of a file's mode in a folder, if git does not look there itself."""
    if "git_looks" not in vars(worker):
        git = _main.get_git(worker.subproject.local_abspath)
        said = git("config", "--type=bool", "--get", "core.fileMode", retcode=None)
        vars(worker)["git_looks"] = said.strip() != "false"
    if not vars(worker)["git_looks"]:
        _main_sync(worker, path, mode)


AS_A_PERSON: dict[str, Any] = {
    "defaults": True,
    "quiet": True,
    "unsafe": False,
    "settings": Settings(),
}
"""How Copier is run: with the answers that are not given by default, and without --trust."""


@contextmanager
def lighter() -> Iterator[None]:
    """Lets Copier's functions run so in this process."""
    with (
        mock.patch.object(_main, "SandboxedEnvironment", Environment),
        mock.patch.object(_template, "load_template_config", parse),
        mock.patch.object(_main.Worker, "_sync_git_index_executable_bit", _sync),
    ):
        yield


_load = _template.load_template_config
_main_sync = _main.Worker._sync_git_index_executable_bit
