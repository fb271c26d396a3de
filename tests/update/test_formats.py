"""A release that stores its state in another format takes over the one before it, and says so."""

from __future__ import annotations

import asyncio
import json
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from personal_auth.version import __version__
from tests.clients.house import House, house
from tests.clients.python_clients import Person, WithFastMcp
from tests.generate.project import copy, git, initialise
from tests.support.process import command
from tests.update.releases import THIS, Releases, commit, replace, update

pytestmark = pytest.mark.filterwarnings("ignore:A configured store is unstable")

MONTH = 31 * 24 * 60 * 60
LATER = "v99.0.0"
SNAPSHOT = "template/src/personal_auth/snapshot.py"
STATE = ".oauth-state/oauth_tokens.json"
REFUSED = (
    "The stored state has format version 2, written by personal_auth 99.0.0, and was left as it"
    f" is: this is personal_auth {__version__}, which reads up to format version 1; update to the"
    " one that wrote it or a later one, restore an older backup, or move it away to start anew."
)
OLDER_ROWS = """
def _records(state: Record) -> dict[str, Any]:
    if state["version"] > 1:
        return state["records"]
    return {
        collection: {key: [row["value"], row.get("expires")] for key, row in rows.items()}
        for collection, rows in state["rows"].items()
    }


"""


@dataclass
class Updated:
    """A project that was updated to a release with a new format, and two clients that it has."""

    place: House
    backup: Path  # the state of before
    person: Person
    client: WithFastMcp
    idle: WithFastMcp  # which has not come back since
    ahead: list[float] = field(default_factory=lambda: [0.0])

    @property
    def project(self) -> Path:
        return self.place.project

    @property
    def state(self) -> Path:
        return self.project / STATE

    def later(self, seconds: float) -> None:
        """Lets time go by, for the server and for the client."""
        self.place.advance(seconds)
        self.ahead[0] += seconds

    def use(self, client: WithFastMcp) -> int:
        """Starts a client that calls a tool; returns how often it asks the owner."""
        before = len(self.person.opened)
        asyncio.run(note(client.again()))
        return len(self.person.opened) - before

    def go_back(self) -> None:
        """Stops the server and takes the last commit back."""
        self.place.server.stop()
        git(self.project, "revert", "--no-edit", "HEAD")


async def note(client: WithFastMcp) -> None:
    async with client.connected() as connected:
        saved = await connected.call_tool("myserver_save", {"text": "Milk and a loaf of rye"})
    assert not saved.is_error


def later_release(releases: Releases) -> str:
    """Makes a release whose format, the second, has arrays for rows, in a member `records`."""
    return releases.release(
        LATER,
        replace("template/src/personal_auth/version.py", __version__, LATER.removeprefix("v")),
        replace(SNAPSHOT, "VERSION = 1\n", "VERSION = 2\n"),
        replace(
            SNAPSHOT,
            'row: Record = {"value": value} if expires is None else'
            ' {"value": value, "expires": expires}',
            "row = [value, expires]",
        ),
        replace(SNAPSHOT, '"rows":{{', '"records":{{'),
        replace(SNAPSHOT, 'state["rows"].items()', "_records(state).items()"),
        replace(SNAPSHOT, 'row["value"], row.get("expires")', "*row"),
        replace(SNAPSHOT, "\ndef _check_version(", f"{OLDER_ROWS.lstrip()}def _check_version("),
    )


@pytest.fixture(scope="module")
def updated(releases: Releases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Updated]:
    folder = tmp_path_factory.mktemp("updated")
    project, backup = folder / "my-server", folder / "my-server/.oauth-state.before"
    copy(releases.folder, project, vcs_ref=THIS)
    initialise(project)
    later_release(releases)
    with pytest.MonkeyPatch.context() as patch, house("loopback", project, folder) as place:
        person = Person(place)
        clients = WithFastMcp(place, person), WithFastMcp(place, person)
        story = Updated(place, backup, person, *clients)
        patch.setattr("webbrowser.open", person.open)
        real = time.time
        patch.setattr("time.time", lambda: real() + story.ahead[0])
        for client in clients:
            asyncio.run(note(client))
        place.server.stop()
        shutil.copytree(project / ".oauth-state", backup)
        update(project)
        commit(project, "Update from the template")
        assert "oauth-state" not in git(project, "ls-files")
        place.restart()
        yield story
        person.rest()


def shape(state: Path) -> list[Any]:
    """Returns what a state file says of its format."""
    document = json.loads(state.read_text())
    return [document["version"], document["writer"], set(document) & {"rows", "records"}]


def test_the_format_before_is_taken_over_and_the_client_goes_on(updated: Updated) -> None:
    used = updated.use(updated.client)
    updated.later(MONTH)
    renewed = updated.use(updated.client)

    assert shape(updated.backup / "oauth_tokens.json") == [1, __version__, {"rows"}]
    assert shape(updated.state) == [2, LATER.removeprefix("v"), {"records"}]
    assert (used, renewed) == (0, 0)


def test_after_a_revert_the_newer_state_is_refused_untouched_and_a_newer_server_goes_on(
    updated: Updated,
) -> None:
    updated.go_back()
    before = updated.state.read_bytes(), updated.state.stat()

    started = command(updated.project, MCP_PORT=str(updated.place.server.port))
    listed = command(updated.project, "connections")
    after = updated.state.read_bytes(), updated.state.stat()
    git(updated.project, "revert", "--no-edit", "HEAD")
    updated.place.restart()
    visits = updated.use(updated.client)

    assert (started.returncode, started.stderr.splitlines()[-1]) == (2, REFUSED)
    assert (listed.returncode, listed.stderr) == (2, f"{REFUSED}\n")
    assert after == before
    assert visits == 0


def test_an_older_backup_lets_the_older_server_start_with_the_clients_as_they_were(
    updated: Updated,
) -> None:
    updated.go_back()
    shutil.rmtree(updated.project / ".oauth-state")
    shutil.copytree(updated.backup, updated.project / ".oauth-state")
    updated.place.restart()

    visits = updated.use(updated.idle), updated.use(updated.client)

    assert visits == (0, 1)  # what was renewed since is not in the backup
    assert shape(updated.state) == [1, __version__, {"rows"}]
