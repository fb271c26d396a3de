"""`copier recopy` brings back what is ours, and one example by itself; it overwrites no seed."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.generate.project import copy, git, initialise
from tests.update import lived_in
from tests.update.releases import THIS, Releases, append, told
from tests.update.trees import Tree, owned_as, tree

RECOPY = ("recopy", "--defaults", "--overwrite", "--quiet", "--vcs-ref", ":current:")


@pytest.fixture(scope="module")
def later(releases: Releases) -> str:
    """Returns a release from which nothing is to be taken: the project is of the one before."""
    return releases.release(
        "v9.0.0",
        append("template/Dockerfile.jinja", "# later\n"),
        append(
            "template/src/{{package_name}}/tools/{% if 'hello' in examples %}hello.py{% endif %}",
            "# later\n",
        ),
    )


class Home(NamedTuple):
    """A project in which a person lives, what was shipped of it, and what is theirs."""

    project: Path
    shipped: Tree
    theirs: Tree


@pytest.fixture(scope="module")
def made(releases: Releases, later: str, tmp_path_factory: pytest.TempPathFactory) -> Home:
    project = tmp_path_factory.mktemp("home") / "my-server"
    copy(releases.folder, project, vcs_ref=THIS, **lived_in.ANSWERS)
    initialise(project)
    return Home(project, tree(project), lived_in.settle(project))


@pytest.fixture
def home(made: Home, tmp_path: Path) -> Home:
    shutil.copytree(made.project, tmp_path / "my-server", symlinks=True)
    return made._replace(project=tmp_path / "my-server")


def documented(project: Path, purpose: str) -> list[str]:
    """Returns the arguments of the command for one purpose, as docs/updating.md has it."""
    text = (project / "docs/updating.md").read_text("utf-8")
    command = re.search(rf"^\| {purpose} \| `uvx copier (.+?)` \|$", text, re.MULTILINE)
    assert command, text
    return shlex.split(command[1])


def test_what_is_ours_is_as_it_was_shipped_and_what_is_theirs_stays(home: Home) -> None:
    (home.project / "Dockerfile").write_text("FROM scratch\n")
    (home.project / "src/personal_auth/grants.py").unlink()

    done = told(home.project, *RECOPY)

    assert done.returncode == 0, done.stderr
    after = tree(home.project)
    for path, entry in home.shipped.items():
        if path not in home.theirs:
            assert after[path] == entry, path
    assert {path: after[path] for path in home.theirs} == home.theirs


def test_shared_files_lose_their_lines_to_a_recopy_until_git_brings_them_back(home: Home) -> None:
    """Pins what Copier does: a recopy takes no account of what was written since."""
    lived = owned_as("shared", home.project)

    told(home.project, *RECOPY)

    assert {path: home.shipped[path] for path in lived} == owned_as("shared", home.project)
    git(home.project, "checkout", "--", *lived)
    assert owned_as("shared", home.project) == lived


def test_a_package_name_changed_by_hand_is_put_back(home: Home) -> None:
    path = home.project / ".copier-answers.yml"
    text = path.read_text()
    path.write_text(text.replace("package_name: kitchen_", "package_name: another_"))

    told(home.project, *RECOPY)

    assert path.read_text() == text
    assert not (home.project / "src/another_helper").exists()


def test_an_example_can_be_added_later_and_nothing_else_comes_with_it(home: Home) -> None:
    before = tree(home.project)
    hello = f"{lived_in.PACKAGE}/tools/hello.py"

    done = told(home.project, *documented(home.project, "add an example"))

    assert done.returncode == 0, done.stderr
    assert tree(home.project) == {**before, hello: home.shipped[hello]}


def test_an_example_that_is_there_is_not_overwritten(home: Home) -> None:
    hello = home.project / lived_in.PACKAGE / "tools/hello.py"
    hello.write_text("# mine\n")
    before = tree(home.project)

    done = told(home.project, *documented(home.project, "add an example"))

    assert done.returncode == 0, done.stderr
    assert tree(home.project) == before
