"""The clone from which the tests of updates take their releases stands for the real repository."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from personal_auth.version import __version__
from tests.update import releases as module
from tests.update.releases import Releases


def test_a_released_version_whose_tag_is_not_here_is_not_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(module.ANSWERS, tmp_path / "answers")
    (tmp_path / "answers/0.1.0.yml").touch()
    monkeypatch.setattr(module, "ANSWERS", tmp_path / "answers")

    with pytest.raises(AssertionError, match=r"v0\.1\.0.*git fetch --tags"):
        Releases(tmp_path / "template")


def test_after_a_release_the_working_tree_stands_for_the_next_one(
    releases: Releases, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert f"v{__version__}" in releases.tags()
    monkeypatch.setattr(module, "ROOT", releases.folder)

    prepared = module.being_prepared()

    assert prepared not in releases.tags()
    assert prepared.removeprefix("v").rpartition(".")[0] == __version__.rpartition(".")[0]
