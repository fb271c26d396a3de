"""Every rendered file has one owner, and Copier is told the same as the person."""

import re
import shutil
import tomllib
from pathlib import Path
from typing import Any

import jinja2
import jinja2.meta
import pytest
import yaml
from copier._template import DEFAULT_EXCLUDE
from pathspec import PathSpec

from tests.generate.answer_sets import ANSWER_SETS
from tests.generate.conftest import Render
from tests.generate.ownership import CONFIGURATION, OWNERSHIP, owners
from tests.generate.project import files, git, initialise


def patterns(setting: str, operation: str) -> set[str]:
    """Return what a setting holds for one operation."""
    rendered = (
        jinja2.Template(line).render(_copier_operation=operation, package_name="PACKAGE")
        for line in CONFIGURATION[setting]
    )
    return {line for line in rendered if line}


def seeds() -> set[str]:
    return {f"/{place.rstrip('/')}" for place in OWNERSHIP["seed"]}


def test_there_are_three_classes() -> None:
    assert list(OWNERSHIP) == ["seed", "shared", "owned"]
    assert set(OWNERSHIP["shared"]) == {"pyproject.toml", ".gitignore", ".dockerignore"}


@pytest.mark.parametrize(
    "name", [name for name, answers in ANSWER_SETS.items() if "description" not in answers]
)
def test_every_rendered_file_has_exactly_one_owner(render: Render, name: str) -> None:
    project = render(**ANSWER_SETS[name])
    package = yaml.safe_load((project / ".copier-answers.yml").read_text())["package_name"]

    for path in files(project):
        assert len(owners(path, package)) == 1, path


def test_every_row_is_about_something(render: Render) -> None:
    rendered = [str(path) for path in files(render())]

    for rows in OWNERSHIP.values():
        for row in rows:
            place = row.replace("PACKAGE", "my_server")
            assert any(path == place or path.startswith(place) for path in rendered), row


def test_an_update_excludes_exactly_the_seeds() -> None:
    assert patterns("_exclude", "update") - patterns("_exclude", "copy") == seeds()


def test_a_copy_skips_exactly_the_seeds_that_exist(render: Render) -> None:
    skipped = PathSpec.from_lines("gitignore", CONFIGURATION["_skip_if_exists"])

    for path in files(render()):
        assert skipped.match_file(path) == (owners(path, "my_server") == ["seed"]), path


def test_what_a_copy_skips_depends_on_no_answer() -> None:
    # Copier reads the list before the answers when an update finds a file of ours deleted.
    assert not [line for line in CONFIGURATION["_skip_if_exists"] if "{" in line]


def test_the_exclusions_begin_with_those_of_copier() -> None:
    assert tuple(CONFIGURATION["_exclude"][: len(DEFAULT_EXCLUDE)]) == DEFAULT_EXCLUDE


def test_the_exclusions_use_only_what_every_release_knows() -> None:
    environment = jinja2.Environment()

    for line in CONFIGURATION["_exclude"]:
        used = jinja2.meta.find_undeclared_variables(environment.parse(line))
        assert used <= {"_copier_operation", "package_name"}


@pytest.mark.parametrize("answers", [{}, {"package_name": "recipes2", "github": False}], ids=str)
def test_updating_md_says_whose_each_file_is(render: Render, answers: dict[str, Any]) -> None:
    package = str(answers.get("package_name", "my_server"))
    text = (render(**answers) / "docs/updating.md").read_text()

    for owner, title in (("seed", "Yours"), ("shared", "Shared"), ("owned", "Ours")):
        paragraph = text.split(f"\n**{title}")[1].split("\n\n")[0].split(":\n")[1]
        places = [place.replace("PACKAGE", package) for place in OWNERSHIP[owner]]
        assert re.findall("`([^`]+)`", paragraph) == places


def test_updating_md_says_where_each_change_belongs(render: Render) -> None:
    text = (render() / "docs/updating.md").read_text()

    for what, where in CONFIGURATION["seams"]["default"].items():
        assert f"| {what} | {where.replace('src/PACKAGE', 'src/my_server')} |" in text


def test_updating_md_fits_a_screen(render: Render) -> None:
    lines = (render() / "docs/updating.md").read_text().splitlines()

    assert len(lines) <= 50
    assert max(len(line) for line in lines) <= 130


def test_no_place_for_their_changes_is_a_file_of_ours(render: Render) -> None:
    rendered = {str(path) for path in files(render())}
    everywhere = " ".join(CONFIGURATION["seams"]["default"].values())
    named = [
        place.replace("PACKAGE", "my_server") for place in re.findall("`([^` ]+)`", everywhere)
    ]
    places = [place for place in named if "/" in place or "." in place]

    assert len(places) >= 10
    for place in set(places) - {".github/workflows/"}:
        assert place not in rendered or owners(Path(place), "my_server") == ["seed"], place
        assert not place.startswith("tests/") or not any(p.startswith(place) for p in rendered)


def test_the_linter_leaves_alone_exactly_the_code_that_is_ours(render: Render) -> None:
    ruff = tomllib.loads((render() / "pyproject.toml").read_text())["tool"]["ruff"]
    code = [path for path in files(render()) if path.suffix == ".py"]

    excluded = {path for path in code if str(path).startswith(tuple(ruff["extend-exclude"]))}

    assert excluded == {path for path in code if owners(path, "my_server") == ["owned"]}
    assert ruff["force-exclude"] is True


def test_each_shared_file_marks_where_the_person_goes_on(render: Render) -> None:
    for place in OWNERSHIP["shared"]:
        assert (render() / place).read_text().splitlines()[-1].startswith("# ---- your")


def test_no_secret_or_state_is_rendered(render: Render) -> None:
    rendered = {str(path) for path in files(render())}

    assert ".env" not in rendered
    assert "uv.lock" not in rendered
    assert not [path for path in rendered if path.startswith((".oauth-state", "data/"))]


def test_a_fresh_project_is_a_clean_repository(render: Render, tmp_path: Path) -> None:
    project = tmp_path / "my-server"
    shutil.copytree(render(), project)
    initialise(project)
    for name in (".env", ".oauth-state/oauth_tokens.json", "data/notes.sqlite3"):
        (project / name).parent.mkdir(exist_ok=True)
        (project / name).touch()

    assert git(project, "status", "--porcelain") == ""
