"""Answers outlive the questions: one that was added, renamed, removed, or that got a new choice."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.generate.project import copy, git, initialise
from tests.update.releases import (
    THIS,
    Releases,
    commit,
    configure,
    conflicts,
    stored,
    update,
)
from tests.update.trees import tree

GIVEN = {
    "project_name": "kitchen-helper",
    "public_url": "https://mcp.example.com",
    "tunnel": "none",
    "clients": ["claude", "chatgpt"],
}


def rename_public_url(template: Path) -> None:
    """Calls it `address` wherever it is used, and takes the answer along."""
    for path in (template / "copier.yml", *(template / "template").rglob("*")):
        if path.name.endswith((".yml", ".jinja", ".md")) and path.is_file():
            text = re.sub(r"\bpublic_url\b", "address", path.read_text("utf-8"))
            path.write_text(text, "utf-8")


def other_questions(copier: dict[str, Any]) -> None:
    copier["address"]["default"] = "{{ public_url | default('http://localhost:' ~ port) }}"
    copier["language"] = {"type": "str", "help": "Which language?", "default": "en"}
    copier["tunnel"]["choices"]["Carrier pigeons"] = "pigeons"
    copier["tunnel"]["when"] = True
    copier["storage"] = {"type": "str", "default": "file", "when": False}  # asked no more


LATER = (
    rename_public_url,
    configure(other_questions),
)


@pytest.fixture(scope="module")
def later(releases: Releases) -> str:
    """Returns a release that asks something new, and something else by another name."""
    return releases.release("v9.0.0", *LATER)


@pytest.fixture
def answered(releases: Releases, tmp_path: Path) -> Path:
    """Stands in for a project whose answers are not the defaults."""
    project = tmp_path / "my-server"
    copy(releases.folder, project, vcs_ref=THIS, **GIVEN)
    initialise(project)
    return project


def test_answers_go_along_when_the_questions_change(
    answered: Path, later: str, releases: Releases, tmp_path: Path
) -> None:
    before = stored(answered)

    update(answered, to=later)

    expected = before | {"_commit": later, "address": before["public_url"], "language": "en"}
    del expected["public_url"], expected["storage"]
    assert stored(answered) == expected
    assert conflicts(answered) == []
    assert "https://mcp.example.com/mcp" in (answered / "docs/clients.md").read_text()
    asked = {name: value for name, value in expected.items() if not name.startswith(("_", "pack"))}
    copy(releases.folder, tmp_path / "fresh", vcs_ref=later, **asked)
    assert tree(answered) == tree(tmp_path / "fresh")


def test_a_new_choice_can_be_taken_with_the_update_that_brings_it(
    answered: Path, later: str
) -> None:
    update(answered, to=later, tunnel="pigeons")

    assert stored(answered)["tunnel"] == "pigeons"


def test_an_answer_can_be_changed_without_a_new_release(answered: Path) -> None:
    update(answered, to=THIS, public_url="https://other.example.com")

    assert stored(answered)["public_url"] == "https://other.example.com"
    assert "https://other.example.com/mcp" in (answered / "docs/clients.md").read_text()
    assert "https://mcp.example.com" not in (answered / "docs/clients.md").read_text()


def test_another_way_to_the_server_leaves_the_key_of_the_tunnel_and_what_is_theirs(
    releases: Releases, tmp_path: Path
) -> None:
    project, folder = tmp_path / "my-server", tmp_path / "my-server/deploy/cloudflared"
    copy(releases.folder, project, vcs_ref=THIS, tunnel="cloudflared")
    initialise(project)
    theirs = {"credentials.json": '{"TunnelSecret": "mine"}', "mine.yml": "ingress: []\n"}
    for name, text in theirs.items():
        (folder / name).write_text(text)
    commit(project)
    before = tree(project)

    update(project, to=THIS, tunnel="ngrok")

    assert {path.name: path.read_text() for path in folder.iterdir()} == theirs
    assert (project / "deploy/ngrok/ngrok.yml").is_file()
    assert "## ngrok" in (project / "docs/deploying.md").read_text()
    commit(project)
    kept = git(project, "ls-files", "deploy").split()
    assert not [name for name in kept if "credentials" in name]

    update(project, to=THIS, tunnel="cloudflared")

    assert tree(project) == before
    assert conflicts(project) == []


def test_examples_that_are_chosen_later_change_nothing(answered: Path) -> None:
    before = tree(answered)

    update(answered, to=THIS, examples=["hello"])

    after = tree(answered)
    assert stored(answered)["examples"] == ["hello"]
    assert {name for name in before | after if before.get(name) != after.get(name)} == {
        ".copier-answers.yml"
    }


def test_the_package_keeps_its_name(answered: Path) -> None:
    before = tree(answered)

    with pytest.raises(ValueError, match="Try kitchen_helper: the package keeps the name"):
        update(answered, to=THIS, package_name="another")

    assert tree(answered) == before


def test_a_package_name_changed_by_hand_is_refused_as_well(answered: Path) -> None:
    path = answered / ".copier-answers.yml"
    path.write_text(path.read_text().replace("package_name: kitchen_", "package_name: another_"))
    commit(answered, "By hand")
    before = tree(answered)

    with pytest.raises(ValueError, match="Try kitchen_helper: the package keeps the name"):
        update(answered, to=THIS)

    assert tree(answered) == before
