"""Every rendered file has one owner, and Copier is told the same as the person."""

import jinja2
import jinja2.meta
import pytest
import yaml
from copier._template import DEFAULT_EXCLUDE

from tests.generate.answer_sets import ANSWER_SETS
from tests.generate.conftest import Render
from tests.generate.ownership import CONFIGURATION, OWNERSHIP, owners
from tests.generate.project import files


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


def test_a_copy_skips_exactly_the_seeds_that_exist() -> None:
    assert patterns("_skip_if_exists", "copy") == seeds()


def test_the_exclusions_begin_with_those_of_copier() -> None:
    assert tuple(CONFIGURATION["_exclude"][: len(DEFAULT_EXCLUDE)]) == DEFAULT_EXCLUDE


def test_the_exclusions_use_only_what_every_release_knows() -> None:
    environment = jinja2.Environment()

    for setting in ("_exclude", "_skip_if_exists"):
        for line in CONFIGURATION[setting]:
            used = jinja2.meta.find_undeclared_variables(environment.parse(line))
            assert used <= {"_copier_operation", "package_name"}


def test_updating_md_shows_the_same_table(render: Render) -> None:
    text = (render() / "docs/updating.md").read_text()

    for rows in OWNERSHIP.values():
        for place, about in rows.items():
            assert f"| `{place.replace('PACKAGE', 'my_server')}` | {about} |" in text


def test_each_shared_file_marks_where_the_person_goes_on(render: Render) -> None:
    for place in OWNERSHIP["shared"]:
        assert (render() / place).read_text().splitlines()[-1].startswith("# ---- your")


def test_no_secret_or_state_is_rendered(render: Render) -> None:
    rendered = {str(path) for path in files(render())}

    assert ".env" not in rendered
    assert "uv.lock" not in rendered
    assert not [path for path in rendered if path.startswith((".oauth-state", "data/"))]
