"""Connected clients stay connected across an update, and across the way back."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from personal_auth.version import __version__
from tests.clients.home import Home
from tests.clients.house import PASSWORD, House, house
from tests.clients.node_programs import SETTINGS, Connected, McpRemote
from tests.clients.python_clients import Person, Program, WithFastMcp
from tests.generate.project import copy, git, initialise
from tests.support import forks
from tests.support.approve import words
from tests.support.process import command
from tests.update.releases import (
    THIS,
    Releases,
    commit,
    conflicts,
    move,
    released,
    replace,
    told,
    update,
)
from tests.verify.house import Report, without_settings

pytestmark = pytest.mark.filterwarnings("ignore:A configured store is unstable")

MONTH = 31 * 24 * 60 * 60
BEFORE = "v0.9.0"  # stands for a release that was there before the first real one
AUTH, SERVER = "template/src/personal_auth", "template/src/personal_server"
OWN_TOOL = '''
"""What is missing in the kitchen."""

from fastmcp.tools import tool


@tool(title="Show the shopping list", annotations={"readOnlyHint": True})
def shopping() -> str:
    """Tells what is missing in the kitchen. Use it when the user goes shopping."""
    return "a loaf of rye"
'''


@dataclass
class Updated:
    """A lived-in project that was updated while its server ran, and all who use that server.

    It was connected to before the update, and between the update and the restart.
    """

    place: House
    release: str  # from which it comes
    person: Person
    ahead: list[float] = field(default_factory=lambda: [0.0])
    before: Program = field(init=False)
    between: Program = field(init=False)
    remote: McpRemote | pytest.skip.Exception = field(init=False)
    remotely: list[list[str]] = field(default_factory=list)  # what the app behind it could use
    pages: list[list[tuple[int, str]]] = field(default_factory=list)
    listed: str = ""  # by the new command, of the old server
    trees: list[str] = field(default_factory=list)

    @property
    def project(self) -> Path:
        return self.place.project

    def later(self, seconds: float) -> None:
        """Lets time go by, for the server and for the programs."""
        self.place.advance(seconds)
        self.ahead[0] += seconds

    def look(self) -> list[tuple[int, str]]:
        """Returns what a person reads where an app asks, and where one is unknown."""
        addresses = [self.person.opened[0], f"{self.place.url}/authorize?client_id=nobody"]
        with httpx.Client(trust_env=False) as browser:
            pages = [browser.get(address) for address in addresses]
        return [(page.status_code, words(page.text)) for page in pages]


def release_before(releases: Releases) -> str:
    """Makes a release whose code and pages do not go together with the newest ones."""
    return releases.release(
        BEFORE,
        replace(f"{AUTH}/version.py", __version__, BEFORE.removeprefix("v")),
        replace(f"{AUTH}/pages/consent.html", "<h1>Connect this app?", "<h1>Admit this app?"),
        replace(f"{AUTH}/pages/base.html", "{{ style }}", "{{ looks }}"),
        replace(f"{AUTH}/pages.py", "style=style,", "looks=style,"),
        move(f"{SERVER}/qr.py", f"{SERVER}/codes.py"),
        replace(f"{SERVER}/connect.py", "import qr", "import codes"),
        replace(f"{SERVER}/connect.py", "{qr.drawn", "{codes.drawn"),
    )


def live_in(project: Path) -> None:
    """Adds a tool, deletes an example and makes a setting, as a person does."""
    tools = project / "src/my_server/tools"
    (tools / "hello.py").unlink()
    (tools / "kitchen.py").write_text(OWN_TOOL)
    (project / ".env").write_text("MCP_RESPONSES=json\n")
    initialise(project)


@pytest.fixture(scope="module", params=[BEFORE, *(tag for tag in released() if tag != THIS)])
def updated(
    request: pytest.FixtureRequest, releases: Releases, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Updated]:
    release = release_before(releases) if request.param == BEFORE else request.param
    folder = tmp_path_factory.mktemp("updated")
    project = folder / "my-server"
    copy(releases.folder, project, vcs_ref=release, examples=["notes", "hello"])
    live_in(project)
    with pytest.MonkeyPatch.context() as patch, house("loopback", project, folder) as place:
        story = Updated(place, release, Person(place))
        patch.setattr("webbrowser.open", story.person.open)
        real = time.time
        patch.setattr("time.time", lambda: real() + story.ahead[0])
        _tell(story, folder)
        yield story
        story.person.rest()


def _tell(story: Updated, folder: Path) -> None:
    place, person = story.place, story.person
    story.before = WithFastMcp(place, person)
    story.between = WithFastMcp(place, person, "legacy")
    asyncio.run(note(story.before, "Milk and a loaf of rye"))
    story.pages.append(story.look())
    try:
        story.remote = McpRemote(Home(place, folder / "home", **SETTINGS))
    except pytest.skip.Exception as missing:
        story.remote = missing
        _update(story)
        place.restart()
        return
    with story.remote.connected() as app:
        story.remotely.append(use_remotely(app))
        _update(story)
        place.restart()
        story.remotely.append(use_remotely(app))


def _update(story: Updated) -> None:
    story.trees.append(tree(story.project))
    update(story.project, tool_prefix="larder")
    assert conflicts(story.project) == []
    commit(story.project, "Update from the template")
    story.trees.append(tree(story.project))
    story.pages.append(story.look())
    asyncio.run(note(story.between, "Salt"))
    story.listed = command(story.project, "connections", "--json").stdout


def tree(project: Path) -> str:
    """Returns what the last commit holds."""
    return git(project, "rev-parse", "HEAD^{tree}").strip()


async def note(program: Program, text: str) -> list[str]:
    """Saves a note and finds it again; returns the tools' names."""
    async with program.connected() as client:
        names = await program.tools(client)
        short = {name.partition("_")[2]: name for name in names}
        saved = await client.call_tool(short["save"], {"text": text})
        found = await client.call_tool(short["search"], {"query": text.split()[-1]})
    assert not saved.is_error
    assert text in found.content[0].text
    return names


async def search(program: Program, query: str) -> str:
    """Returns what the server finds among its notes."""
    async with program.connected() as client:
        [name] = [name for name in await program.tools(client) if name.endswith("_search")]
        return str((await client.call_tool(name, {"query": query})).content[0].text)


def use_remotely(app: Connected) -> list[str]:
    """Lists the tools and calls one; returns their names."""
    names = [tool["name"] for tool in app.rpc("tools/list")["tools"]]
    [name] = [name for name in names if name.endswith("_shopping")]
    result = app.rpc("tools/call", name=name, arguments={})
    assert result["content"][0]["text"] == "a loaf of rye", result
    return names


def verify(story: Updated, *arguments: str) -> Report:
    """Runs verify.py in the project's folder, as a program."""
    done = forks.run(
        [sys.executable, "verify.py", story.place.url, *arguments],
        cwd=story.project,
        env=without_settings(),
        stdin=subprocess.DEVNULL,
        timeout=60,
    )
    return Report(done.returncode, done.stdout, done.stderr)


def test_a_server_stays_what_it_was_until_it_is_restarted(updated: Updated) -> None:
    before, between = updated.pages

    assert before[0][0] == 200
    assert before[1][0] == 400
    assert between == before
    assert "Traceback" not in updated.place.log


def test_a_running_server_needs_none_of_its_files_until_it_is_restarted(
    rendered: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = tmp_path / "my-server"
    shutil.copytree(rendered, project)

    with house("loopback", project, tmp_path) as place:
        story = Updated(place, THIS, Person(place))
        monkeypatch.setattr("webbrowser.open", story.person.open)
        (project / "src").rename(tmp_path / "away")
        names = asyncio.run(note(WithFastMcp(place, story.person), "Milk and a loaf of rye"))
        story.person.rest()
        pages = story.look()

    assert "myserver_save" in names
    assert [status for status, _ in pages] == [200, 400]
    assert "Traceback" not in place.log


def test_the_commands_of_the_new_release_reach_the_server_of_the_old_one(updated: Updated) -> None:
    connected = json.loads(updated.listed)

    assert len(connected) == (3 if isinstance(updated.remote, McpRemote) else 2)


def test_verify_passes_with_a_tool_of_their_own_no_example_and_another_prefix(
    updated: Updated, tmp_path: Path
) -> None:
    password = tmp_path / "password"
    password.write_text(PASSWORD)

    report = verify(updated, "--json", "--password-file", str(password))

    assert (report.code, report.with_status("fail")) == (0, []), report.out
    assert report.with_status("skip") == []
    assert "owner.sign_in" in report.with_status("pass")


def test_a_program_goes_on_with_its_tokens_and_renews_them_without_the_owner(
    updated: Updated,
) -> None:
    program = updated.before.again()
    visits = len(updated.person.opened)

    async def story() -> list[Any]:
        at_first, _ = await updated.before.kept()
        names = await note(program, "Butter and eggs")
        unchanged, _ = await program.kept()
        updated.later(MONTH)
        await note(program, "Flour and yeast")
        return [names, at_first, unchanged, (await program.kept())[0]]

    names, at_first, unchanged, renewed = asyncio.run(story())

    assert {"larder_shopping", "larder_save"} <= set(names)
    assert not {name for name in names if "hello" in name or "myserver" in name}
    assert unchanged.access_token == at_first.access_token
    assert renewed.access_token != at_first.access_token
    assert renewed.refresh_token != at_first.refresh_token
    assert len(updated.person.opened) == visits


def test_an_app_that_keeps_running_behind_mcp_remote_goes_on_and_renews_its_tokens(
    updated: Updated,
) -> None:
    remote = updated.remote
    if isinstance(remote, pytest.skip.Exception):
        raise remote
    before, _ = remote.kept()
    first, second = updated.remotely

    updated.later(MONTH)
    with remote.connected() as app:
        third = use_remotely(app)

    assert "myserver_shopping" in first
    assert "larder_shopping" in second
    assert third == second
    assert remote.kept()[0]["refresh_token"] != before["refresh_token"]
    assert len(remote.home.opened) == 1


def test_who_signed_in_between_the_update_and_the_restart_goes_on_too(updated: Updated) -> None:
    visits = len(updated.person.opened)

    found = asyncio.run(search(updated.between.again(), "salt"))

    assert "Salt" in found
    assert len(updated.person.opened) == visits


def test_the_notes_of_before_are_still_there(updated: Updated) -> None:
    assert "Milk and a loaf of rye" in asyncio.run(search(updated.before.again(), "milk"))


def test_the_way_back_is_git_revert_and_nobody_has_to_sign_in_again(updated: Updated) -> None:
    project, visits = updated.project, len(updated.person.opened)

    refused = told(project, "update", "--defaults", "--vcs-ref", updated.release)
    left = git(project, "status", "--porcelain"), tree(project)
    git(project, "revert", "--no-edit", "HEAD")
    updated.place.restart()
    names = asyncio.run(note(updated.before.again(), "Back to the old release"))

    assert refused.returncode == 1
    assert "Downgrades are not supported" in refused.stderr
    assert left == ("", updated.trees[1])
    assert tree(project) == updated.trees[0]
    assert "myserver_save" in names
    assert len(updated.person.opened) == visits


def test_an_update_that_is_not_committed_is_undone_with_git_alone(updated: Updated) -> None:
    project = updated.project
    if tree(project) != updated.trees[0]:
        git(project, "revert", "--no-edit", "HEAD")

    update(project, tool_prefix="larder")
    git(project, "add", "-A")
    again = git(project, "write-tree").strip()
    git(project, "reset", "-q", "--hard")
    git(project, "clean", "-q", "-fd")

    assert again == updated.trees[1]
    assert git(project, "status", "--porcelain") == ""
    assert tree(project) == updated.trees[0]
    for name in (".env", ".oauth-state/oauth_tokens.json", "data/notes.sqlite3"):
        assert (project / name).exists(), name
