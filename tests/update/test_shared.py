"""What a person adds to a file that both write stays where it was added."""

from __future__ import annotations

import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from tests.generate.project import ROOT, copy, initialise
from tests.update.releases import Releases, commit, conflicts, update

LINE = "# ---- yours below this line ----"
UV = shutil.which("uv", path=str(ROOT / ".venv/bin")) or shutil.which("uv")


def uv_add(project: Path, *arguments: str) -> None:
    """Adds a dependency as a person does, without installing anything."""
    assert UV, "`make test` installs uv"
    done = subprocess.run(
        [UV, "add", "--no-sync", "--quiet", *arguments],
        cwd=project,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture
def project(history: Releases, tmp_path: Path) -> Path:
    """Stands in for a project of a release whose dependencies have other bounds than today's."""
    target = tmp_path / "my-server"
    copy(history.folder, target, vcs_ref="v0.9.0", project_name="kitchen-helper")
    initialise(target)
    return target


def test_what_uv_adds_stays_below_the_line(
    history: Releases, project: Path, tmp_path: Path
) -> None:
    uv_add(project, "iniconfig>=2")
    uv_add(project, "--dev", "iniconfig>=2.1")
    commit(project)

    update(project)

    copy(history.folder, tmp_path / "fresh", project_name="kitchen-helper")
    fresh = tomllib.loads((tmp_path / "fresh/pyproject.toml").read_text("utf-8"))
    text = (project / "pyproject.toml").read_text("utf-8")
    merged = tomllib.loads(text)
    ours, dev = fresh["project"]["dependencies"], fresh["dependency-groups"]["dev"]
    assert conflicts(project) == []
    assert merged["project"]["dependencies"] == [*ours, "iniconfig>=2"]
    assert merged["dependency-groups"]["dev"] == [*dev, "iniconfig>=2.1"]
    for added in ("iniconfig>=2", "iniconfig>=2.1"):
        assert f'{LINE}\n  "{added}",\n]' in text.replace("    ", "  ")
