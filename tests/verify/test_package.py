"""verify.py is a program for everybody's servers too: the repository is a package of it alone."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.generate.project import ROOT
from tests.verify.house import House, without_settings

START = "import sys; sys.path.insert(0, sys.argv.pop(1)); from personal_verify.cli import program"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    uv = Path(sys.executable).with_name("uv")
    command = [uv, "build", "--wheel", "--quiet", "--offline", "--out-dir", folder, ROOT]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return next(folder.glob("*.whl"))


def test_it_holds_nothing_but_the_program(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as built:
        folders = {name.partition("/")[0] for name in built.namelist()}
        commands = built.read(next(n for n in built.namelist() if n.endswith("entry_points.txt")))

    assert {folder for folder in folders if "dist-info" not in folder} == {"personal_verify"}
    assert b"verify-mcp = personal_verify.cli:program" in commands


def test_it_verifies_a_server_from_elsewhere(wheel: Path, house: House, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-c", f"{START}; program()", str(wheel), house.url],
        cwd=tmp_path,
        env=without_settings(PYTHONPATH=""),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "No fault was seen" in done.stdout
