"""Projects of other shapes: odd names, part of a larger repository, moved, before any release."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.generate.project import copy, git, initialise
from tests.update.releases import (
    THIS,
    Releases,
    append,
    commit,
    conflicts,
    move,
    stored,
    told,
    update,
    write,
)
from tests.update.trees import Tree, tree

CHANGES = (
    append("template/Dockerfile.jinja", "# later\n"),
    move("template/docs/deploying.md.jinja", "template/docs/domain/deploying.md.jinja"),
    write("template/docs/new.md", "# New\n"),
)


@pytest.fixture(scope="module")
def later(releases: Releases) -> str:
    return releases.release("v9.0.0", *CHANGES)


def fresh(releases: Releases, tag: str, project: Path, target: Path) -> Tree:
    """Returns what a new project with the same answers holds."""
    answers = {k: v for k, v in stored(project).items() if not k.startswith(("_", "package_born"))}
    copy(releases.folder, target, vcs_ref=tag, **answers)
    return tree(target)


def test_a_name_with_dashes_and_digits(releases: Releases, later: str, tmp_path: Path) -> None:
    project = tmp_path / "my 2nd server"
    copy(releases.folder, project, vcs_ref=THIS, project_name="a1-2b-3-c4")
    initialise(project)

    update(project)

    assert stored(project)["package_name"] == "a1_2b_3_c4"
    assert tree(project) == fresh(releases, later, project, tmp_path / "fresh")


class Monorepo:
    """A repository in which the project is one folder, with siblings like its own files."""

    def __init__(self, releases: Releases, folder: Path) -> None:
        self.top, self.project = folder, folder / "services" / "my server"
        copy(releases.folder, self.project, vcs_ref=THIS, project_name="kitchen-helper")
        for name in SIBLINGS:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(f"{name} of the repository\n")
        initialise(folder)

    def siblings(self) -> Tree:
        inside = "services/my server/"
        return {name: item for name, item in tree(self.top).items() if not name.startswith(inside)}


SIBLINGS = ("README.md", "Dockerfile", "docs/new.md", "services/compose.yml", "notes.txt")


@pytest.fixture
def monorepo(releases: Releases, later: str, tmp_path: Path) -> Monorepo:
    return Monorepo(releases, tmp_path / "everything")


def test_a_folder_of_a_larger_repository(
    monorepo: Monorepo, releases: Releases, later: str, tmp_path: Path
) -> None:
    (monorepo.top / "notes.txt").write_text("not committed yet\n")
    (monorepo.top / "Dockerfile").write_text("staged\n")
    git(monorepo.top, "add", "Dockerfile")
    (monorepo.top / "Dockerfile").write_text("staged, and changed since\n")
    (monorepo.top / "untracked.txt").write_text("not even added\n")
    siblings, index = monorepo.siblings(), git(monorepo.top, "diff", "--cached")

    done = told(monorepo.project, "update", "--defaults")

    assert done.returncode == 0, done.stderr
    assert monorepo.siblings() == siblings
    assert git(monorepo.top, "diff", "--cached") == index
    assert tree(monorepo.project) == fresh(releases, later, monorepo.project, tmp_path / "fresh")


def test_undoing_an_update_in_a_larger_repository_leaves_the_rest_of_it_alone(
    monorepo: Monorepo,
) -> None:
    with (monorepo.project / "Dockerfile").open("a") as file:
        file.write("# mine\n")
    commit(monorepo.top)
    before = tree(monorepo.project)
    (monorepo.top / "notes.txt").write_text("not committed yet\n")
    siblings = monorepo.siblings()
    (monorepo.top / "README.md").unlink()  # Copier brings back what was deleted and not committed
    done = told(monorepo.project, "update", "--defaults")
    undo = re.search(r"^ +(git .* && git clean .*)$", done.stderr, re.MULTILINE)
    assert undo, done.stderr
    assert conflicts(monorepo.project) == ["Dockerfile"]

    subprocess.run(undo[1], shell=True, cwd=monorepo.project, check=True, capture_output=True)

    assert tree(monorepo.project) == before
    assert git(monorepo.project, "status", "--porcelain", ".") == ""
    assert monorepo.siblings() == siblings


def test_a_project_that_was_moved_and_renamed_finds_its_volumes_again(
    project: Path, releases: Releases, later: str, tmp_path: Path
) -> None:
    before = yaml.safe_load((project / "compose.yml").read_text("utf-8"))
    moved = tmp_path / "elsewhere" / "The Chef"
    moved.parent.mkdir()
    project.rename(moved)

    update(moved, project_name="chef")

    after = yaml.safe_load((moved / "compose.yml").read_text("utf-8"))
    assert after["name"] == before["name"]
    assert after["volumes"] == before["volumes"]
    assert after["services"]["server"]["volumes"] == before["services"]["server"]["volumes"]
    assert after["services"]["server"]["container_name"] == "chef"
    assert stored(moved)["package_name"] == "kitchen_helper"
    theirs = {name: entry for name, entry in tree(moved).items() if name != "README.md"}
    new = fresh(releases, later, moved, tmp_path / "fresh")
    assert theirs == {name: new[name] for name in theirs}
    assert not (moved / "src/chef").exists()


def test_a_project_from_before_the_first_release_gets_to_it(tmp_path: Path) -> None:
    releases, project = Releases(tmp_path / "template"), tmp_path / "my-server"
    for tag in releases.tags():
        git(releases.folder, "tag", "-d", tag)
    assert told(tmp_path, "copy", "--defaults", str(releases.folder), str(project)).returncode == 0
    initialise(project)
    assert available(project) is False
    releases.release("v1.0.0", *CHANGES)
    assert available(project) is True

    done = told(project, "update", "--defaults")

    assert done.returncode == 0, done.stderr
    assert stored(project)["_commit"] == "v1.0.0"
    assert tree(project) == fresh(releases, "v1.0.0", project, tmp_path / "fresh")
    assert available(project) is False


def available(project: Path) -> bool:
    """Returns whether there is an update, as a workflow asks for it."""
    done = told(project, "check-update", "--quiet")
    assert done.returncode in {0, 2}, done.stderr
    return done.returncode == 2
