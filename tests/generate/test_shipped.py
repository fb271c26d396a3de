"""Each project carries the hash of every file that the template keeps current."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.generate.answer_sets import ANSWER_SETS
from tests.generate.conftest import Render
from tests.generate.project import ROOT, contents
from tests.generate.test_ownership import owners

LIST = Path("src/personal_server/shipped.sha256")
COPIERS = Path(".copier-answers.yml")


@pytest.mark.parametrize("name", ANSWER_SETS, ids=lambda name: name.replace(" ", "_"))
def test_it_lists_each_file_of_ours_with_its_hash(render: Render, name: str) -> None:
    project = render(**ANSWER_SETS[name])
    package = yaml.safe_load((project / COPIERS).read_text("utf-8"))["package_name"]
    ours = {
        path: hashlib.sha256(content).hexdigest()
        for path, content in contents(project).items()
        if owners(path, package) == ["owned"] and path not in {LIST, COPIERS}
    }

    lines = (project / LIST).read_text("utf-8").splitlines()
    listed = {Path(path): digest for digest, path in (line.split("  ", 1) for line in lines)}

    assert listed == ours
    assert len(lines) == len(listed) > 100


def test_it_is_what_sha256sum_checks(render: Render) -> None:
    program = shutil.which("sha256sum")
    assert program, "sha256sum is in coreutils"

    done = subprocess.run(
        [program, "--check", "--strict", "--quiet", LIST],
        cwd=render(),
        capture_output=True,
        text=True,
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_lists_source_is_up_to_date() -> None:
    command = [sys.executable, "scripts/shipped.py", "--check"]

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)

    assert done.returncode == 0, done.stderr


def test_a_stale_list_is_noticed(template: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(template, tmp_path / "template"))
    with (copy / "template/verify.py").open("a") as file:
        file.write("# newer\n")
    command = [sys.executable, "scripts/shipped.py", "--check"]

    done = subprocess.run(command, cwd=copy, capture_output=True, text=True)

    assert done.returncode == 1
    assert done.stderr.endswith("is stale: run `make shipped`.\n")

    subprocess.run(command[:2], cwd=copy, check=True)
    assert subprocess.run(command, cwd=copy).returncode == 0
