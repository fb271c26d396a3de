"""Disks that are full, read-only or gone, and files that are not what they should be."""

from __future__ import annotations

import asyncio
import errno
import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from personal_auth import PersonalAuthProvider
from personal_auth.errors import StartRefused, StateDirLost, StoreUnavailable
from personal_auth.limits import Limits
from personal_auth.statedir import StateDir
from tests.support.mounts import ext4, fail, fill, immutable, remount, tmpfs
from tests.support.site import PASSWORD, URL, App, Clock, Site, Visitor, answer_of, approve, connect
from tests.support.site import ticket as ticket_of

ROOT = Path(__file__).parents[2]
FILE = "oauth_tokens.json"


class Household:
    """A server with clients in every state, on a disk that will fail."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.owner = site.visitor()
        self.app, self.tokens = connect(site)
        self.other, self.others = connect(site)
        self.waiting = App.register(site)
        self.code = approve(self.waiting, self.owner)
        self.asking = App.register(site)
        self.ticket = ticket_of(self.owner.get("/authorize", params=self.asking.query()))

    def refresh(self) -> httpx.Response:
        return self.app.refresh(self.tokens["refresh_token"])

    def revoke(self) -> httpx.Response:
        form = {"token": self.others["access_token"], "client_id": self.other.id}
        return self.site.visitor().post("/revoke", data=form)

    def approve(self) -> httpx.Response:
        """Approves on the page that was opened before, as the owner who is signed in."""
        return self.owner.submit(ticket=self.ticket, decision="approve")

    def sign_in(self) -> httpx.Response:
        """Approves another app in a browser that has not signed in yet."""
        owner, app = self.site.visitor(), App.register(self.site)
        ticket = ticket_of(owner.get("/authorize", params=app.query()))
        return owner.submit(ticket=ticket, password=PASSWORD, decision="approve")

    def everything_that_grants(self) -> list[httpx.Response]:
        answers = [self.refresh(), self.refresh(), self.approve(), self.approve(), self.sign_in()]
        return [*answers, self.revoke(), self.waiting.redeem(self.code)]

    def everything_else(self) -> list[int]:
        visitor = self.site.visitor()
        answers = [
            visitor.call(self.tokens["access_token"]),
            visitor.get("/authorize", params=self.asking.query()),
            visitor.post("/register", json={"redirect_uris": ["https://claude.ai/cb"]}),
            visitor.call(None),
        ]
        return [answer.status_code for answer in answers]

    def goes_on(self) -> None:
        """Does what was refused before, and looks at it after a restart."""
        refreshed, approved, revoked = self.refresh(), self.approve(), self.revoke()
        redeemed = self.asking.redeem(answer_of(approved)["code"])
        fresh = [answer.json()["access_token"] for answer in (refreshed, redeemed)]
        opens = [self.tokens["access_token"], *fresh]
        self.site.restart()
        after = [self.site.visitor().call(token).status_code for token in opens]
        again = self.refresh().json()

        assert revoked.status_code == 200
        assert after == [200, 200, 200]
        assert self.site.visitor().call(self.others["access_token"]).status_code == 401
        assert again == refreshed.json()
        assert temporary(self.site.state_dir) == []


def temporary(state: Path) -> list[Path]:
    return [*state.glob(".*")]


def refused(answers: list[httpx.Response]) -> set[tuple[int, str | None]]:
    return {(answer.status_code, answer.headers.get("retry-after")) for answer in answers}


def not_started(state: Path, capsys: pytest.CaptureFixture[str], **options: Any) -> str:
    """Returns the one sentence with which a start was refused."""
    provider = PersonalAuthProvider(**{"base_url": URL, "state_dir": state, **options})
    with pytest.raises(SystemExit) as stopped:
        provider.get_routes("/mcp")
    said = capsys.readouterr()
    assert stopped.value.code == 2
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert said.err.endswith(".\n")
    return said.err


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    with tmpfs(tmp_path / "small") as place:
        yield place


@pytest.fixture
def journaled(tmp_path: Path) -> Iterator[Path]:
    with ext4(tmp_path / "journaled") as place:
        yield place


@contextmanager
def served(place: Path, clock: Clock) -> Iterator[Site]:
    site = Site(place / "state", clock)
    try:
        yield site
    finally:
        site.stop()


async def by_command(site: Site, gid: str, *, read_only: bool) -> None:
    command = PersonalAuthProvider(URL, PASSWORD, state_dir=site.state_dir)
    async with command.service.for_a_command() as service:
        await service.connections.narrow(gid, read_only)


# Full


def test_on_a_full_disk_nothing_is_granted_until_there_is_room_and_then_all_goes_on(
    small: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    site = Site(small / "state", clock)
    try:
        household = Household(site)
        filler = fill(small)
        while_full = household.everything_that_grants()
        meanwhile = household.everything_else()
        left = temporary(site.state_dir)
        filler.unlink()

        assert refused(while_full) == {(503, "5")}
        assert meanwhile == [200, 200, 201, 401]
        assert left == []
        household.goes_on()
        assert caplog.text.count("[state_not_available]") == 1
        assert caplog.text.count("reason=No_space_left_on_device") == 1
        assert caplog.text.count("[state_available_again]") == 1
    finally:
        site.stop()


def test_a_refresh_that_could_not_be_written_is_no_use_of_its_token(
    small: Path, clock: Clock
) -> None:
    window = Limits().retry_window_seconds
    with served(small, clock) as site:
        house = Household(site)
        filler = fill(small)
        refused_at_first = [house.refresh(), house.refresh()]
        filler.unlink()
        clock.advance(window + 1)
        first = house.refresh()
        clock.advance(window - 1)
        again = house.refresh()
        clock.advance(2)
        late = house.refresh()

        assert refused(refused_at_first) == {(503, "5")}
        assert first.status_code == 200
        assert first.json()["refresh_token"] == again.json()["refresh_token"]
        assert site.visitor().call(first.json()["access_token"]).status_code == 401
        assert late.json()["error_description"] == (
            "The refresh token was used already; the connection was revoked."
        )


def test_what_the_owner_is_refused_on_a_full_disk_gives_nothing(small: Path, clock: Clock) -> None:
    with served(small, clock) as site:
        house, service = Household(site), site.provider.service
        service.can_narrow = True
        gid = site.run(service.check(house.tokens["access_token"])).grant_id
        site.run(service.connections.narrow(gid, True))

        filler = fill(small)
        with pytest.raises(StoreUnavailable):
            site.run(service.connections.narrow(gid, False))
        held_on_the_full_disk = site.run(service.check(house.tokens["access_token"])).read_only
        with pytest.raises(StoreUnavailable):
            site.run(service.owner.change_password("another password"))
        with pytest.raises(StoreUnavailable, match=r"in a few seconds\.\Z"):
            asyncio.run(by_command(site, gid, read_only=False))
        filler.unlink()
        held = site.run(service.check(house.tokens["access_token"])).read_only
        signed_in = house.sign_in()
        site.restart()
        site.provider.service.can_narrow = True
        still = site.run(site.provider.service.check(house.tokens["access_token"])).read_only

        assert (held_on_the_full_disk, held, still) == (True, True, True)
        assert signed_in.status_code == 303


def test_what_is_taken_on_a_full_disk_is_taken_at_once_and_told(
    small: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    with served(small, clock) as site:
        house, service = Household(site), site.provider.service
        service.can_narrow = True
        _, replayed = connect(site)
        app, stolen = connect(site)
        app.refresh(stolen["refresh_token"])
        clock.advance(Limits().retry_window_seconds + 1)
        narrowed, revoked, robbed = [
            site.run(service.check(tokens["access_token"])).grant_id
            for tokens in (house.tokens, replayed, stolen)
        ]
        filler = fill(small)
        caplog.clear()
        caplog.set_level(logging.INFO)

        for take in (
            service.connections.narrow(narrowed, True),
            service.connections.revoke(revoked),
            service.owner.sessions.end_all_but(None),
        ):
            with pytest.raises(StoreUnavailable):
                site.run(take)
        theft = app.refresh(stolen["refresh_token"])
        with pytest.raises(StoreUnavailable):
            asyncio.run(by_command(site, narrowed, read_only=True))
        reads = site.run(service.check(house.tokens["access_token"])).read_only
        with pytest.raises(StoreUnavailable):
            site.run(service.connections.revoke_all())
        said = [line for line in caplog.messages if "It holds, and is not on disk yet." in line]
        filler.unlink()
        ended = [site.visitor().call(each["access_token"]) for each in (replayed, stolen)]

        assert theft.status_code == 503
        assert reads
        assert [line.partition("]")[0].lstrip("[") for line in said] == [
            "connection_held_to_reading",
            "connection_revoked",
            "session_ended",
            "refresh_token_replayed_connection_revoked",
            "connection_held_to_reading",
            "connection_revoked",
        ]
        for line, gid in zip(said, [narrowed, revoked, "", robbed, narrowed, "all"], strict=True):
            assert f"grant={gid}" in line or "session=all" in line
        assert {answer.status_code for answer in ended} == {401}


def test_a_server_that_stops_on_a_full_disk_loses_nothing_it_acknowledged(
    small: Path, clock: Clock
) -> None:
    site = Site(small / "state", clock)
    household = Household(site)
    filler = fill(small)
    refused_refresh = household.refresh()
    site.stop()
    filler.unlink()
    site.start()
    try:
        retried = household.refresh()

        assert (refused_refresh.status_code, retried.status_code) == (503, 200)
        assert site.visitor().call(household.tokens["access_token"]).status_code == 200
        assert household.waiting.redeem(household.code).status_code == 200
    finally:
        site.stop()


@pytest.mark.parametrize("password", [PASSWORD, None], ids=["chosen", "generated"])
def test_a_first_start_on_a_full_disk_is_one_sentence(
    small: Path, capsys: pytest.CaptureFixture[str], password: str | None
) -> None:
    state = small / "state"
    filler = fill(small)

    sentence = not_started(state, capsys, password=password)
    left = [path.name for path in state.iterdir()]
    filler.unlink()
    PersonalAuthProvider(URL, PASSWORD, state_dir=state).service.state.open()

    assert "No space left on device" in sentence
    assert "make room" in sentence
    assert left == ["lock"]


def test_a_start_on_a_full_disk_is_one_sentence_and_the_file_is_left_alone(
    small: Path, clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    site = Site(small / "state", clock)
    _, tokens = connect(site)
    site.stop()
    before = (site.state_dir / FILE).read_bytes()
    filler = fill(small)

    sentence = not_started(site.state_dir, capsys, password=PASSWORD)
    after = (site.state_dir / FILE).read_bytes()
    filler.unlink()
    site.start()
    try:
        assert "No space left on device" in sentence
        assert after == before
        assert site.visitor().call(tokens["access_token"]).status_code == 200
    finally:
        site.stop()


def test_a_process_that_starts_on_a_full_disk_ends_with_one_line_and_code_2(small: Path) -> None:
    fill(small)
    program = (
        "import sys\nfrom fastmcp import FastMCP\nfrom personal_auth import PersonalAuthProvider\n"
        "auth = PersonalAuthProvider('http://localhost:1', state_dir=sys.argv[1])\n"
        "FastMCP('x', auth=auth).run('http', port=1, show_banner=False)\n"
    )

    ended = subprocess.run(
        [sys.executable, "-c", program, str(small / "state")],
        env={**os.environ, "PYTHONPATH": str(ROOT / "template" / "src")},
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert ended.returncode == 2
    assert ended.stderr.count("\n") == 1
    assert "No space left on device" in ended.stderr


# Read-only


def test_a_disk_that_turns_read_only_grants_nothing_more_and_keeps_what_it_has(
    journaled: Path, clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    site = Site(journaled / "state", clock)
    try:
        household = Household(site)
        fail(journaled)
        answers, meanwhile = household.everything_that_grants(), household.everything_else()
    finally:
        site.stop()
    sentence = not_started(site.state_dir, capsys, password=PASSWORD)
    copy = journaled.with_name("copy")
    shutil.copytree(site.state_dir, copy, ignore=shutil.ignore_patterns("control.sock"))
    moved = Site(copy, clock)
    try:
        kept = [household.tokens["access_token"], household.others["access_token"]]
        opens = [moved.visitor().call(token).status_code for token in kept]
    finally:
        moved.stop()

    assert refused(answers) == {(503, "5")}
    assert meanwhile == [200, 200, 201, 401]
    assert "Read-only file system" in sentence
    assert opens == [200, 200]


def test_a_directory_that_nobody_may_change_for_a_while_grants_nothing_for_that_while(
    journaled: Path, clock: Clock
) -> None:
    site = Site(journaled / "state", clock)
    try:
        household = Household(site)
        immutable(site.state_dir, on=True)
        try:
            answers, meanwhile = household.everything_that_grants(), household.everything_else()
        finally:
            immutable(site.state_dir, on=False)

        assert refused(answers) == {(503, "5")}
        assert meanwhile == [200, 200, 201, 401]
        household.goes_on()
    finally:
        site.stop()


def test_a_start_on_a_disk_that_was_mounted_read_only_is_one_sentence(
    small: Path, clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    site = Site(small / "state", clock)
    _, tokens = connect(site)
    site.stop()
    remount(small, "ro")

    sentence = not_started(site.state_dir, capsys, password=PASSWORD)
    nowhere = not_started(small / "new", capsys, password=PASSWORD)
    remount(small, "rw")
    site.start()
    try:
        assert "cannot be written (Read-only file system)" in sentence
        assert "cannot be written (Read-only file system)" in nowhere
        assert site.visitor().call(tokens["access_token"]).status_code == 200
    finally:
        site.stop()


AS_NOBODY = """
import asyncio, contextlib, io, json, os, sys
from pathlib import Path
from personal_auth import PersonalAuthProvider
from personal_auth.errors import StoreUnavailable
from personal_auth.store import Put

async def import_everything():
    folder = Path(sys.argv[1]) / "root's"
    async with PersonalAuthProvider("http://localhost:1", state_dir=folder).service.for_a_command():
        pass

asyncio.run(import_everything())
os.setgroups([]); os.setgid(65534); os.setuid(65534)
told = {}
for name in ("not mine", "read only", "unreadable file", "parent not mine/state"):
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        try:
            provider = PersonalAuthProvider("http://localhost:1", "x" * 20,
                                            state_dir=Path(sys.argv[1]) / name)
            provider.get_routes("/mcp")
            told[name] = [0, ""]
        except SystemExit as stopped:
            told[name] = [stopped.code, said.getvalue()]

folder = Path(sys.argv[1]) / "later read only"
service = PersonalAuthProvider("http://localhost:1", "x" * 20, state_dir=folder).service

async def use():
    for number, mode in enumerate((0o700, 0o500, 0o700)):
        folder.chmod(mode)
        try:
            await service.records.put(Put("c", str(number), {}))
            yield "written"
        except StoreUnavailable as error:
            yield error.status

async def collect():
    await service.state.start()
    told["while running"] = [each async for each in use()]
    await service.stop()

asyncio.run(collect())
told["kept"] = sorted(json.loads((folder / "oauth_tokens.json").read_text())["rows"]["c"])
print(json.dumps(told))
"""


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that every user can enter."""
    with tempfile.TemporaryDirectory(prefix="state-") as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)


def test_a_user_without_the_right_to_write_is_told_so_in_one_sentence(public: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    for name, user, mode in (
        ("not mine", 0, 0o755),
        ("read only", 65534, 0o555),
        ("unreadable file", 65534, 0o755),
        ("parent not mine", 0, 0o755),
        ("later read only", 65534, 0o755),
    ):
        (public / name).mkdir()
        os.chown(public / name, user, user)
        (public / name).chmod(mode)
    (public / "unreadable file" / FILE).write_text("{}")
    (public / "unreadable file" / FILE).chmod(0o600)

    ended = subprocess.run(
        [sys.executable, "-c", AS_NOBODY, str(public)],
        env={**os.environ, "PYTHONPATH": str(ROOT / "template" / "src")},
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert ended.stderr.count("Traceback") == 0, ended.stderr
    told = json.loads(ended.stdout)
    running, kept = told.pop("while running"), told.pop("kept")
    assert {code for code, _ in told.values()} == {2}
    assert all("(Permission denied)" in sentence for _, sentence in told.values())
    assert all(sentence.count("\n") == 1 for _, sentence in told.values())
    assert told["unreadable file"][1] == (
        f"The state file {public}/unreadable file/{FILE} cannot be read (Permission denied): give"
        " this user the right to read it.\n"
    )
    assert all("right to" in sentence for _, sentence in told.values())
    assert running == ["written", 503, "written"]
    assert kept == ["0", "1", "2"]


# Gone, replaced, moved


@pytest.fixture
def household(site: Site) -> Household:
    return Household(site)


def lost(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [line for line in caplog.messages if "was removed, replaced or lost its lock" in line]


def test_a_directory_that_was_deleted_is_not_made_again_and_the_log_says_what_to_do(
    site: Site, household: Household, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.rmtree(site.state_dir)

    answers, meanwhile = household.everything_that_grants(), household.everything_else()

    assert refused(answers) == {(503, "5")}
    assert meanwhile == [200, 200, 201, 401]
    assert not site.state_dir.exists()
    assert len(lost(caplog)) == 1
    assert "put it back, or restart the server" in lost(caplog)[0]


def test_a_directory_that_was_moved_away_and_back_works_again_without_a_restart(
    site: Site, household: Household
) -> None:
    away = site.state_dir.with_name("away")
    site.state_dir.rename(away)
    before = (away / FILE).read_bytes()

    answers, meanwhile = household.everything_that_grants(), household.everything_else()
    untouched = (away / FILE).read_bytes()
    made = site.state_dir.exists()
    away.rename(site.state_dir)

    assert refused(answers) == {(503, "5")}
    assert meanwhile == [200, 200, 201, 401]
    assert untouched == before
    assert not made
    household.goes_on()


def test_a_server_never_touches_the_directory_that_took_the_place_of_its_own(
    tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    state = tmp_path / "state"
    first = Site(state, clock, password=None)
    known = (state / "initial-password").read_text().strip()
    owner, app = first.visitor(), App.register(first)
    ticket = ticket_of(owner.get("/authorize", params=app.query()))
    state.rename(tmp_path / "away")
    second = Site(state, clock, password=None)
    try:
        before = picture(state)
        answer = owner.submit(ticket=ticket, password=known, decision="approve")
        first.stop()
        after = picture(state)
        other, theirs = second.visitor(), App.register(second)
        page = other.get("/authorize", params=theirs.query())
        password = (state / "initial-password").read_text().strip()
        alive = other.submit(ticket=ticket_of(page), password=password, decision="approve")

        assert answer.status_code == 503
        assert after == before
        assert alive.status_code == 303
        assert not (tmp_path / "away" / "initial-password").exists()
        assert len(lost(caplog)) == 1
    finally:
        second.stop()


def picture(folder: Path) -> dict[str, Any]:
    """Returns everything a folder holds and which files they are."""
    return {
        path.name: (path.stat().st_ino, path.read_bytes() if path.is_file() else None)
        for path in folder.iterdir()
    }


def test_a_server_whose_lock_file_was_removed_gives_way_to_the_one_that_took_it(
    site: Site, household: Household, clock: Clock
) -> None:
    (site.state_dir / "lock").unlink()
    second = Site(site.state_dir, clock)
    try:
        app, tokens = connect(second)
        answers = household.everything_that_grants()
        site.stop()
        alive = second.visitor().call(tokens["access_token"])
        fresh = app.refresh(tokens["refresh_token"])

        assert refused(answers) == {(503, "5")}
        assert (alive.status_code, fresh.status_code) == (200, 200)
        assert (site.state_dir / "control.sock").exists()
    finally:
        second.stop()
        site.start()


def test_a_directory_that_is_lost_in_the_start_itself_is_told_as_such(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        PersonalAuthProvider, "_load_state", lambda self: shutil.rmtree(tmp_path / "state")
    )

    sentence = not_started(tmp_path / "state", capsys, password=PASSWORD)

    assert "was removed, replaced or lost its lock file" in sentence
    assert not (tmp_path / "state").exists()


def test_a_server_serves_although_commands_cannot_reach_it(
    tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "control.sock").mkdir()

    site = Site(tmp_path, clock)
    try:
        _, tokens = connect(site)
        assert site.visitor().call(tokens["access_token"]).status_code == 200
        assert "Commands cannot reach this server" in caplog.text
    finally:
        site.stop()


def test_a_program_that_changes_its_working_directory_keeps_its_state_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    folder = StateDir(Path("state"))
    assert folder.acquire()

    monkeypatch.chdir(tmp_path / "elsewhere")
    folder.write(b"{}")
    folder.release()

    assert (tmp_path / "state" / FILE).read_bytes() == b"{}"
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_nothing_is_written_before_the_lock_is_taken_or_after_it_was_let_go(
    tmp_path: Path,
) -> None:
    folder = StateDir(tmp_path / "state")
    with pytest.raises(StateDirLost):
        folder.write(b"before")
    assert folder.acquire()
    folder.write(b"held")
    folder.release()
    with pytest.raises(StateDirLost):
        folder.write(b"after")

    assert (tmp_path / "state" / FILE).read_bytes() == b"held"


def test_what_is_made_in_the_directory_is_the_owners_alone(tmp_path: Path) -> None:
    folder = StateDir(tmp_path / "state")
    assert folder.acquire()
    folder.write(b"{}")
    folder.write_password("secret")
    folder.release()

    modes = {path.name: path.stat().st_mode & 0o777 for path in folder.path.iterdir()}

    assert modes == {"lock": 0o600, FILE: 0o600, "initial-password": 0o600}
    assert folder.path.stat().st_mode & 0o777 == 0o700
    assert folder.password_file.read_text() == "secret\n"


def test_a_password_never_goes_to_the_directory_that_took_the_place(tmp_path: Path) -> None:
    folder = StateDir(tmp_path / "state")
    assert folder.acquire()
    folder.path.rename(tmp_path / "away")
    folder.path.mkdir()

    folder.write_password("secret")
    written = (tmp_path / "away" / "initial-password").exists()
    folder.forget_password()
    folder.forget_password()
    folder.release()

    assert written
    assert list(folder.path.iterdir()) == []
    assert [path.name for path in (tmp_path / "away").iterdir()] == ["lock"]


def test_a_disk_that_cannot_lock_is_refused_with_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cannot(handle: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", cannot)
    open_files = len(os.listdir("/dev/fd"))

    with pytest.raises(StartRefused) as told:
        StateDir(tmp_path).acquire()

    assert str(told.value) == (
        f"The state directory {tmp_path} cannot be locked (No locks available): put it on a"
        " local disk."
    )
    assert len(os.listdir("/dev/fd")) == open_files


def test_of_a_failed_write_the_first_reason_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*arguments: Any, **named: Any) -> None:
        raise OSError(errno.EIO, "first")

    def fails_as_well(*arguments: Any, **named: Any) -> None:
        raise OSError(errno.EIO, "second")

    folder = StateDir(tmp_path)
    assert folder.acquire()
    monkeypatch.setattr("os.replace", fails)
    monkeypatch.setattr("os.unlink", fails_as_well)

    with pytest.raises(OSError, match="first"):
        folder.write(b"{}")
    folder.release()


def test_each_refusal_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    folder = StateDir(tmp_path / "state")
    folder.path.mkdir()
    told = {}

    def tell(what: str, call: Callable[[], object]) -> None:
        with pytest.raises((StartRefused, StateDirLost)) as refusal:
            call()
        told[what] = str(refusal.value)

    tell("no directory", StateDir(tmp_path / "file" / "state").acquire)
    tell("no lock", lambda: folder.write(b"{}"))
    folder.state_file.mkdir()
    tell("no file", folder.read)
    folder.state_file.rmdir()
    folder.state_file.write_text("{")
    tell("no JSON", folder.read)
    folder.state_file.write_text("[]")
    tell("no state", folder.read)

    file = folder.state_file
    assert told == {
        "no directory": f"The state directory {tmp_path}/file/state cannot be written (Not a"
        " directory): make room, give this user the right to write there, or choose another"
        " directory.",
        "no lock": f"The state directory {folder.path} was removed, replaced or lost its lock file"
        " while this server ran: put it back, or restart the server to go on with what is there"
        " now.",
        "no file": f"{file} is a link, a directory or the like, and was left as it is: put the"
        " state file itself there, or move this away to start anew.",
        "no JSON": f"The state file {file} is damaged and was left as it is: restore it from a"
        " backup, or move it away to start anew and connect each client again.",
        "no state": f"The state file {file} was not written by this server and was left as it is:"
        " move it away to start anew.",
    }


def test_a_lock_is_held_by_one_until_it_is_let_go(tmp_path: Path) -> None:
    first, second = StateDir(tmp_path), StateDir(tmp_path)
    open_files = len(os.listdir("/dev/fd"))

    took = [first.acquire(), first.acquire(), second.acquire(), second.acquire()]
    first.release()
    first.release()
    took += [second.acquire(), first.acquire()]
    second.release()

    assert took == [True, True, False, False, True, False]
    assert len(os.listdir("/dev/fd")) == open_files


# Files that are not what they should be


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, str]:
    """Returns a state file with one connection, and a token that it opens."""
    site = Site(tmp_path_factory.mktemp("written") / "state", Clock())
    _, tokens = connect(site)
    site.stop()
    return (site.state_dir / FILE).read_bytes(), tokens["access_token"]


@pytest.fixture
def state(tmp_path: Path, written: tuple[bytes, str]) -> Path:
    """Returns a state directory with one connection; no server runs on it."""
    folder = tmp_path / "state"
    folder.mkdir()
    (folder / FILE).write_bytes(written[0])
    return folder


def opened(state: Path, clock: Clock, token: str) -> int:
    """Starts a server; returns its answer to a call with a token."""
    site = Site(state, clock)
    try:
        return site.visitor().call(token).status_code
    finally:
        site.stop()


def test_a_file_cut_anywhere_is_refused_and_left_alone(state: Path) -> None:
    whole = (state / FILE).read_bytes().rstrip()

    for length in {0, 1, *range(2, len(whole), 97), len(whole) - 1}:
        (state / FILE).write_bytes(whole[:length])
        with pytest.raises(StartRefused, match="damaged and was left as it is"):
            PersonalAuthProvider(URL, PASSWORD, state_dir=state).service.state.open()
        assert (state / FILE).read_bytes() == whole[:length]


def replaced_by_nothing(file: Path) -> None:
    file.write_bytes(b"")


def replaced_by_rubbish(file: Path) -> None:
    file.write_bytes(bytes(range(256)) * 64)


def replaced_by_zeros(file: Path) -> None:
    file.write_bytes(bytes(4096))


def replaced_by_another_program(file: Path) -> None:
    file.write_text('{"installed": {"client_id": "x", "client_secret": "y"}}')


def replaced_by_a_list(file: Path) -> None:
    file.write_text("[1, 2]")


def replaced_by_a_directory(file: Path) -> None:
    file.unlink()
    file.mkdir()


def replaced_by_a_link(file: Path) -> None:
    file.rename(file.with_name("elsewhere.json"))
    file.symlink_to("elsewhere.json")


def replaced_by_a_link_to_nowhere(file: Path) -> None:
    file.unlink()
    file.symlink_to("/nonexistent/oauth_tokens.json")


def replaced_by_a_pipe(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


@pytest.mark.parametrize(
    ("replace", "words"),
    [
        (replaced_by_nothing, "damaged"),
        (replaced_by_rubbish, "damaged"),
        (replaced_by_zeros, "damaged"),
        (replaced_by_another_program, "not written by this server"),
        (replaced_by_a_list, "not written by this server"),
        (replaced_by_a_directory, "a link, a directory or the like"),
        (replaced_by_a_link, "a link, a directory or the like"),
        (replaced_by_a_link_to_nowhere, "a link, a directory or the like"),
        (replaced_by_a_pipe, "a link, a directory or the like"),
    ],
)
def test_a_file_that_is_something_else_stops_the_start_and_is_left_alone(
    state: Path,
    capsys: pytest.CaptureFixture[str],
    replace: Callable[[Path], None],
    words: str,
) -> None:
    replace(state / FILE)
    before = {path.name: path.lstat() for path in state.iterdir()}

    sentence = not_started(state, capsys, password=PASSWORD)
    after = {path.name: path.lstat() for path in state.iterdir()}

    assert words in sentence
    assert "left as it is" in sentence
    assert [after[name].st_ino for name in before] == [stat.st_ino for stat in before.values()]
    assert after[FILE].st_mtime_ns == before[FILE].st_mtime_ns


def test_a_file_that_others_could_read_is_theirs_no_more_after_a_start(
    state: Path, clock: Clock, written: tuple[bytes, str]
) -> None:
    (state / FILE).chmod(0o666)

    assert opened(state, clock, written[1]) == 200
    assert (state / FILE).stat().st_mode & 0o777 == 0o600


def test_a_file_that_an_editor_of_another_system_saved_is_read(
    state: Path, clock: Clock, written: tuple[bytes, str]
) -> None:
    (state / FILE).write_bytes(b"\xef\xbb\xbf" + written[0] + b"\r\n")

    assert opened(state, clock, written[1]) == 200


def test_a_second_process_on_the_directory_does_not_start_and_disturbs_nothing(
    site: Site, household: Household
) -> None:
    before = picture(site.state_dir)
    program = (
        "import sys\nfrom personal_auth import PersonalAuthProvider\n"
        "PersonalAuthProvider('http://localhost:1', 'x' * 20, state_dir=sys.argv[1])"
        ".get_routes('/mcp')\n"
    )

    ended = subprocess.run(
        [sys.executable, "-c", program, str(site.state_dir)],
        env={**os.environ, "PYTHONPATH": str(ROOT / "template" / "src")},
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert ended.returncode == 2
    assert ended.stderr.count("\n") == 1
    assert "Another server runs on the state directory" in ended.stderr
    assert picture(site.state_dir) == before
    household.goes_on()


def test_what_a_death_left_behind_is_swept_away_and_nothing_else(tmp_path: Path) -> None:
    ours = [f".{FILE}.0123456789abcdef", ".initial-password.0123456789abcdef"]
    others = [".gitignore", f"{FILE}.bak", f".{FILE}", "initial-password"]
    for name in [*ours, *others]:
        (tmp_path / name).write_text("x")
    folder = StateDir(tmp_path)

    assert folder.acquire()
    folder.release()

    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*others, "lock"])


def test_what_cannot_be_swept_away_does_not_stop_the_start(tmp_path: Path) -> None:
    (tmp_path / f".{FILE}.directory").mkdir()
    folder = StateDir(tmp_path)

    assert folder.acquire()
    folder.release()


def test_the_owners_browser_is_told_to_wait_while_the_disk_is_full(
    small: Path, clock: Clock
) -> None:
    site = Site(small / "state", clock)
    try:
        owner: Visitor = site.visitor()
        approve(App.register(site), owner)
        app = App.register(site)
        ticket = ticket_of(owner.get("/authorize", params=app.query()))
        filler = fill(small)
        pages = [owner.submit(ticket=ticket, decision="approve") for _ in range(2)]
        filler.unlink()
        approved = owner.submit(ticket=ticket, decision="approve")

        assert refused(pages) == {(503, "5")}
        assert all("Not possible now" in page.text for page in pages)
        assert app.redeem(answer_of(approved)["code"]).status_code == 200
    finally:
        site.stop()


def test_the_socket_for_commands_is_reached_through_a_long_path_and_leaves_nothing(
    tmp_path: Path, clock: Clock
) -> None:
    state = tmp_path.joinpath(*["deeper"] * 40)
    site = Site(state, clock)
    elsewhere = Path(os.readlink(state / "control.sock")).parent
    mode = elsewhere.stat().st_mode & 0o777
    site.stop()

    assert mode == 0o700
    assert not elsewhere.exists()
    assert not (state / "control.sock").is_symlink()


def test_a_command_that_changes_nothing_writes_nothing(tmp_path: Path, clock: Clock) -> None:
    Site(tmp_path / "state", clock).stop()
    before = (tmp_path / "state" / FILE).stat()

    async def look() -> None:
        command = PersonalAuthProvider(URL, state_dir=tmp_path / "state")
        async with command.service.for_a_command() as service:
            await service.connections.all()

    asyncio.run(look())

    after = (tmp_path / "state" / FILE).stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_commands_at_once_wait_for_each_other(tmp_path: Path) -> None:
    async def change(name: str) -> None:
        command = PersonalAuthProvider(URL, state_dir=tmp_path)
        async with command.service.for_a_command() as service:
            await service.owner.change_password(name * 20)

    async def at_once() -> None:
        await asyncio.gather(*(change(name) for name in "abcdef"))

    asyncio.run(at_once())

    assert len(json.loads((tmp_path / FILE).read_text())["rows"]["owner"]) == 2
    assert StateDir(tmp_path).acquire()
