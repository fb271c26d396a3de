"""Which stored state a server reads: its own format, older ones, never a later one.

`states/` has what a release has stored, and what its client holds, by the release's version; they
never change. A release that stores something new adds its own.
"""

from __future__ import annotations

import ast
import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

import personal_auth
from personal_auth import PersonalAuthProvider, snapshot, version
from tests.support.site import PASSWORD, URL, App, Clock, Site, answer_of, connect, ticket

ROOT = Path(__file__).parents[2]
FILE = "oauth_tokens.json"
STATES = sorted(Path(__file__).with_name("states").glob("*.json"))

Stored = tuple[Path, dict[str, Any], str]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Returns a state file with one connection, and a token that it opens."""
    site = Site(tmp_path_factory.mktemp("written") / "state", Clock())
    _, tokens = connect(site)
    site.stop()
    return (site.state_dir / FILE).read_text(), tokens["access_token"]


@pytest.fixture
def stored(tmp_path: Path, written: tuple[str, str]) -> Stored:
    """Returns a state directory, what its file holds, and a token that it opens."""
    text, token = written
    (tmp_path / FILE).write_text(text)
    return tmp_path, json.loads(text), token


def change(stored: Stored, **members: Any) -> bytes:
    """Alters the head of the file; None takes a member out."""
    state, document, _ = stored
    head = {k: v for k, v in {**document, **members}.items() if v is not None}
    (state / FILE).write_text(json.dumps(head))
    return (state / FILE).read_bytes()


def refused(state: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """Returns the sentence with which a start was refused."""
    with pytest.raises(SystemExit) as stopped:
        PersonalAuthProvider(URL, PASSWORD, state_dir=state).get_routes("/mcp")
    assert stopped.value.code == 2
    sentence = capsys.readouterr().err
    assert sentence.count("\n") == 1
    return sentence


def opens(stored: Stored, clock: Clock) -> tuple[int, dict[str, Any]]:
    """Starts a server; returns what the token is answered and the head of the file after it."""
    state, _, token = stored
    site = Site(state, clock)
    try:
        answer = site.visitor().call(token).status_code
        head = json.loads((state / FILE).read_text())
    finally:
        site.stop()
    return answer, {key: value for key, value in head.items() if key != "rows"}


def test_the_file_says_which_format_it_has_and_who_wrote_it(stored: Stored) -> None:
    _, document, _ = stored

    head = {key: value for key, value in document.items() if key != "rows"}

    assert head == {
        "format": "personal-auth",
        "version": 1,
        "writer": personal_auth.__version__,
    }


def test_a_later_format_is_refused_by_name_and_left_alone(
    stored: Stored, capsys: pytest.CaptureFixture[str]
) -> None:
    before = change(stored, version=2, writer="7.8.9", more={"rows": "elsewhere"}, rows=None)

    sentence = refused(stored[0], capsys)

    assert sentence == (
        "The stored state has format version 2, written by personal_auth 7.8.9, and was left as it"
        f" is: this is personal_auth {personal_auth.__version__}, which reads up to format version"
        " 1; update to the one that wrote it or a later one, restore an older backup, or move it"
        " away to start anew.\n"
    )
    assert (stored[0] / FILE).read_bytes() == before


def test_a_later_format_without_a_writer_is_refused_as_well(
    stored: Stored, capsys: pytest.CaptureFixture[str]
) -> None:
    before = change(stored, version=99, writer=None)

    assert "written by personal_auth of a later version" in refused(stored[0], capsys)
    assert (stored[0] / FILE).read_bytes() == before


@pytest.mark.parametrize("writer", ["\x1b[2J\nerror: gone" + "x" * 100_000, ["a"] * 999, {"a": 1}])
def test_whatever_the_file_names_as_its_writer_is_told_on_one_short_line(
    stored: Stored, capsys: pytest.CaptureFixture[str], writer: object
) -> None:
    change(stored, version=2, writer=writer)

    sentence = refused(stored[0], capsys)

    assert len(sentence) < 500
    assert sentence.strip().isprintable()


@pytest.mark.parametrize("number", [0, -1, 1.0, True, "1", [], {}, float("nan")], ids=repr)
def test_a_format_that_is_no_number_of_ours_is_damage(
    stored: Stored, capsys: pytest.CaptureFixture[str], number: object
) -> None:
    before = change(stored, version=number)

    assert "damaged and was left as it is" in refused(stored[0], capsys)
    assert (stored[0] / FILE).read_bytes() == before


def test_a_file_without_a_format_number_is_damaged(
    stored: Stored, capsys: pytest.CaptureFixture[str]
) -> None:
    change(stored, version=None)

    assert "damaged and was left as it is" in refused(stored[0], capsys)


def test_a_file_without_a_writer_is_read_and_gets_one(stored: Stored, clock: Clock) -> None:
    change(stored, writer=None)

    answer, head = opens(stored, clock)

    assert answer == 200
    assert head["writer"] == personal_auth.__version__


@pytest.mark.parametrize("writer", ["0.0.1", "99.0.0", 7, None])
def test_a_file_of_our_format_is_read_whoever_wrote_it(
    stored: Stored, clock: Clock, writer: object
) -> None:
    change(stored, writer=writer)

    answer, head = opens(stored, clock)

    assert answer == 200
    assert head["writer"] == personal_auth.__version__


def test_a_file_of_an_older_format_is_read_and_written_in_the_new_one(
    stored: Stored, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot, "VERSION", 3)

    answer, head = opens(stored, clock)

    assert answer == 200
    assert head["version"] == 3


@pytest.mark.parametrize("release", STATES, ids=lambda path: path.stem)
def test_what_a_release_has_stored_keeps_its_client_and_its_owner(
    release: Path, tmp_path: Path, clock: Clock
) -> None:
    kept = json.loads(release.read_text())
    (tmp_path / FILE).write_text(json.dumps(kept["state"]))
    clock.now = kept["clock"]
    site = Site(tmp_path, clock, password=None)
    try:
        app, owner = App(site, kept["client"]), site.visitor()
        used = site.visitor().call(kept["access_token"])
        renewed = app.refresh(kept["refresh_token"])
        page = owner.get("/authorize", params=app.query())
        approved = owner.submit(ticket=ticket(page), password=kept["password"], decision="approve")
        again = app.redeem(answer_of(approved)["code"])
    finally:
        site.stop()

    assert [answer.status_code for answer in (used, renewed, approved, again)] == [
        200,
        200,
        303,
        200,
    ]


def test_what_a_later_release_adds_without_a_new_format_is_passed_over(
    tmp_path: Path, clock: Clock
) -> None:
    kept = json.loads(STATES[-1].read_text())
    state, more = kept["state"], {"more": {"of": [1, "later", None]}}
    for rows in state["rows"].values():
        for row in rows.values():
            row.update(more)
            row["value"].update(more)
            row["value"].get("client", {}).update(more)
    state["rows"]["inventions"] = {"first": {"value": more}}
    (tmp_path / FILE).write_text(json.dumps({**state, **more, "writer": "99.0.0"}))
    clock.now = kept["clock"]
    site = Site(tmp_path, clock, password=None)
    try:
        used = site.visitor().call(kept["access_token"])
        renewed = App(site, kept["client"]).refresh(kept["refresh_token"])
        left = json.loads((tmp_path / FILE).read_text())["rows"]
    finally:
        site.stop()

    assert (used.status_code, renewed.status_code) == (200, 200)
    assert left["inventions"] == state["rows"]["inventions"]


def test_the_module_knows_its_version() -> None:
    assert personal_auth.__version__ == version.__version__
    assert re.fullmatch(r"[0-9]+\.[0-9]+\.[0-9]+", personal_auth.__version__)


def test_no_other_place_states_a_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    assert project["version"] == "0"


def test_the_version_stands_in_a_module_that_imports_nothing() -> None:
    path = ROOT / "template" / "src" / "personal_auth" / "version.py"
    tree = ast.walk(ast.parse(path.read_text()))

    assert not [node for node in tree if isinstance(node, ast.Import | ast.ImportFrom)]
