"""A template with releases, and a person's project that was made from one of them."""

from __future__ import annotations

import pytest

from tests.update.releases import Releases


@pytest.fixture(scope="module")
def releases(tmp_path_factory: pytest.TempPathFactory) -> Releases:
    """Returns the repository with its releases; a module may make further ones."""
    return Releases(tmp_path_factory.mktemp("releases") / "template")
