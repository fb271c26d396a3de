"""A template with releases, and a person's project that was made from one of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.generate.project import copy, initialise
from tests.update import older
from tests.update.releases import THIS, Releases


@pytest.fixture(scope="module")
def releases(tmp_path_factory: pytest.TempPathFactory) -> Releases:
    """Returns the repository with its releases; a module may make further ones."""
    return Releases(tmp_path_factory.mktemp("releases") / "template")


@pytest.fixture(scope="module")
def history(releases: Releases) -> Releases:
    """Returns the repository with older releases too, which never were."""
    older.make(releases)
    return releases


@pytest.fixture
def project(releases: Releases, tmp_path: Path) -> Path:
    """Stands in for a person's project, made from the working tree and committed."""
    target = tmp_path / "my-server"
    copy(releases.folder, target, vcs_ref=THIS, project_name="kitchen-helper")
    initialise(target)
    return target
