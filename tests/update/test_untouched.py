"""A project that nobody has changed becomes what a fresh copy is, whichever release it is of."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.generate.ownership import CONFIGURATION
from tests.generate.project import copy, initialise
from tests.update import older
from tests.update.releases import (
    ANSWERS,
    THIS,
    Releases,
    answered,
    released,
    stored,
    update,
)
from tests.update.trees import owned_as, tree

NEWEST = released()[-1]
QUESTIONS = {
    name: question
    for name, question in CONFIGURATION.items()
    if not name.startswith("_") and question.get("when") is not False
}


def from_release(releases: Releases, tag: str, target: Path) -> Path:
    """Makes a project of one release with the answers that such a project has given."""
    answers = answered(tag if tag in released() else NEWEST)
    unasked = older.UNASKED.get(tag, set())
    asked = {name: answer for name, answer in answers.items() if name not in unasked}
    copy(releases.folder, target, vcs_ref=tag, **asked)
    initialise(target)
    return target


@pytest.mark.parametrize("tag", ["v0.8.0", "v0.9.0", *released()])
def test_it_becomes_what_a_fresh_copy_is_except_its_seeds(
    history: Releases, tmp_path: Path, tag: str
) -> None:
    project, fresh = from_release(history, tag, tmp_path / "old"), tmp_path / "fresh"
    before, seeds = stored(project), owned_as("seed", project)

    update(project)

    answers = {name: before[name] for name in before.keys() & QUESTIONS}
    copy(history.folder, fresh, vcs_ref=THIS, **answers)
    after = tree(project)
    assert {path: after[path] for path in after.keys() - seeds.keys()} == {
        path: entry for path, entry in tree(fresh).items() if path not in seeds
    }
    assert owned_as("seed", project) == seeds
    assert {name: stored(project)[name] for name in before} == {**before, "_commit": THIS}
    assert stored(project).keys() == {*QUESTIONS, "_commit", "_src_path", "package_born"}


def test_the_answers_of_a_release_differ_from_its_defaults(
    history: Releases, tmp_path: Path
) -> None:
    for tag in released():
        given, defaults = answered(tag), tmp_path / tag
        copy(history.folder, defaults, vcs_ref=tag, project_name=given["project_name"])

        alike = {name for name in given if stored(defaults)[name] == given[name]}

        assert alike <= {"project_name", "storage"}, "a default in their place would go unnoticed"


def test_the_newest_release_has_answered_every_question() -> None:
    assert answered(NEWEST).keys() == QUESTIONS.keys(), (
        f"{ANSWERS.name}/ needs a file of the release that brings the question"
    )
