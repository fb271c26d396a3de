"""The trail by itself: what it keeps, within which bounds, and that no disk stops who notes."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastmcp import FastMCP

from personal_auth import Limits, PersonalAuthProvider, audit, trail, trailfile
from personal_auth.audit import Event
from personal_auth.calls import Calls
from personal_auth.trail import DAY_SECONDS, LOST, MEGABYTE, Entry, Trail, TrailUnreadable
from personal_auth.trailfile import ARGUMENTS_CHARS, TEXT_CHARS, clean
from personal_auth.trailread import read
from tests.auth.test_audit import everything
from tests.support.asgi import AppServer
from tests.support.household import connect
from tests.support.mounts import fill, tmpfs
from tests.support.site import PASSWORD, Clock, Site, Visitor

CALL = Entry(time.time() - 60, "call", "g" * 16, "Claude", "my_save", "ok", 1.25, "192.0.2.1")


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Trail]]:
    """Opens trails, and closes them after the test."""
    made: list[Trail] = []

    def make(path: Path = tmp_path / "state" / "trail.sqlite3", **options: Any) -> Trail:
        made.append(Trail(path, **options))
        made[-1].open()
        return made[-1]

    yield make
    for each in made:
        each.close()


def call(number: int, **changes: Any) -> Entry:
    named = {"at": CALL.at + number, "kind": "call", "tool": f"tool_{number}", **changes}
    return Entry(**named)


def tools(entries: list[Entry]) -> list[str]:
    return [entry.tool for entry in entries]


def test_what_was_noted_is_read_back_the_newest_first(make: Callable[..., Trail]) -> None:
    kept = make()

    kept.note(CALL)
    audit.record(Event.APPROVED, grant="a" * 16, client="Claude", to="claude.ai")
    event, noted = kept.read()

    assert noted == Entry(**{**{f: getattr(CALL, f) for f in CALL.__slots__}, "id": 1})
    assert (event.kind, event.event) == ("gate", "connection_approved")
    assert (event.grant, event.client, event.fields) == ("a" * 16, "Claude", {"to": "claude.ai"})
    assert abs(event.at - time.time()) < 60


def test_a_page_follows_the_page_before_though_entries_come_in_another_order_or_at_one_time(
    make: Callable[..., Trail],
) -> None:
    kept = make()
    for number in (3, 1, 2, 0):
        kept.note(call(number))
        kept.note(call(number))

    pages: list[list[Entry]] = []
    before = None
    while page := kept.read(limit=3, before=before):
        pages.append(page)
        before = page[-1].at, page[-1].id

    assert [len(page) for page in pages] == [3, 3, 2]
    assert tools([entry for page in pages for entry in page]) == [
        f"tool_{number}" for number in (3, 3, 2, 2, 1, 1, 0, 0)
    ]


def test_entries_are_found_by_time_by_connection_and_by_kind(make: Callable[..., Trail]) -> None:
    kept = make()
    for number in range(4):
        kept.note(call(number, grant="even" if number % 2 == 0 else "odd"))
    kept.note(Entry(CALL.at + 9, "gate", "even", event="connection_revoked"))

    assert tools(kept.read(since=CALL.at + 2, kind="call")) == ["tool_3", "tool_2"]
    assert tools(kept.read(grant="even")) == ["", "tool_2", "tool_0"]
    assert [entry.event for entry in kept.read(kind="gate")] == ["connection_revoked"]


def test_a_hundred_entries_are_two_statements_and_a_commit_by_a_thread_of_its_own(
    make: Callable[..., Trail], monkeypatch: pytest.MonkeyPatch
) -> None:
    did: list[tuple[str, int]] = []
    connect = sqlite3.connect

    def watched(*arguments: Any, **options: Any) -> sqlite3.Connection:
        db: sqlite3.Connection = connect(*arguments, **options)
        db.set_trace_callback(lambda sql: did.append((sql, threading.get_ident())))
        return db

    monkeypatch.setattr(sqlite3, "connect", watched)
    kept = make()
    kept.flush()
    did.clear()

    for number in range(100):
        kept.note(call(number))
    assert kept.flush()

    assert [sql for sql, _ in did].count("COMMIT") == 1
    assert len([sql for sql, _ in did if sql.startswith("INSERT")]) == 2
    assert threading.get_ident() not in {thread for _, thread in did}
    assert len(kept.read(limit=1000)) == 100


def test_without_being_hurried_entries_are_written_too(make: Callable[..., Trail]) -> None:
    kept = make()
    kept.note(CALL)

    deadline = time.monotonic() + 20
    while not read(kept.path):
        assert time.monotonic() < deadline, "nothing was written"
        time.sleep(0.02)


def test_the_file_stays_within_its_bound_and_keeps_the_newest(make: Callable[..., Trail]) -> None:
    kept = make(megabytes=1)
    largest = 0

    for number in range(100_000):
        kept.note(call(number, client="Claude", outcome="ok", milliseconds=1.5))
        if number % 4000 == 3999:
            assert kept.flush(20)
            largest = max(largest, kept.path.stat().st_size)

    found = kept.read(limit=100_000)
    assert largest <= MEGABYTE
    assert len(found) > 1000
    assert tools(found) == [f"tool_{99_999 - number}" for number in range(len(found))]


def test_a_smaller_bound_makes_the_file_smaller_at_the_next_start(
    make: Callable[..., Trail],
) -> None:
    large = make(megabytes=8)
    for number in range(3500):
        large.note(call(number, arguments="x" * 1000))
    assert large.flush(20)
    large.close()
    assert large.path.stat().st_size > 3 * MEGABYTE

    small = make(megabytes=1)
    small.flush(20)

    assert small.path.stat().st_size < MEGABYTE
    assert tools(small.read(limit=1)) == ["tool_3499"]


def test_what_strangers_cause_does_not_push_out_what_was_called(
    make: Callable[..., Trail],
) -> None:
    kept = make(megabytes=1)
    for number in range(500):
        kept.note(call(number))

    for _ in range(15):
        for _ in range(2000):
            kept.note(Entry(CALL.at + 1000, "gate", event="request_refused", anybody=True))
        assert kept.flush(20)

    assert len(kept.read(kind="call", limit=1000)) == 500
    assert len(kept.read(kind="gate", limit=100_000)) < 20_000


def test_what_is_too_old_is_taken_out_and_not_in_the_file_any_more(
    make: Callable[..., Trail],
) -> None:
    clock = Clock()
    first = make(days=7, clock=clock)
    first.note(Entry(clock(), "call", tool="an_old_word"))
    first.note(Entry(clock() + 2 * DAY_SECONDS, "call", tool="a_young_word"))
    first.close()
    clock.advance(8 * DAY_SECONDS)

    second = make(days=7, clock=clock)
    second.flush()

    assert tools(second.read()) == ["a_young_word"]
    assert b"an_old_word" not in second.path.read_bytes()


def test_the_file_is_its_owners_alone_from_the_first_moment_whatever_the_umask(
    make: Callable[..., Trail], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    modes: set[int] = set()
    connect = sqlite3.connect

    def watched(*arguments: Any, **options: Any) -> sqlite3.Connection:
        modes.add((tmp_path / "state" / "trail.sqlite3").stat().st_mode & 0o777)
        return connect(*arguments, **options)

    monkeypatch.setattr(sqlite3, "connect", watched)
    umask = os.umask(0)
    try:
        kept = make()
        kept.note(CALL)
        assert kept.flush()
    finally:
        os.umask(umask)

    assert modes == {0o600}
    assert kept.path.stat().st_mode & 0o777 == 0o600
    assert kept.path.parent.stat().st_mode & 0o777 == 0o700


def test_one_that_others_could_read_is_closed_to_them(make: Callable[..., Trail]) -> None:
    make().close()
    kept = make()
    kept.flush()
    kept.close()
    kept.path.chmod(0o644)

    make().flush()

    assert kept.path.stat().st_mode & 0o777 == 0o600


def test_a_reader_writes_nothing_and_needs_no_file(tmp_path: Path) -> None:
    assert read(tmp_path / "nowhere" / "trail.sqlite3") == []
    assert not list(tmp_path.iterdir())


def test_values_are_printable_and_cut(make: Callable[..., Trail]) -> None:
    kept = make()
    surrogate = "\ud800\n\x1b[31m" + "x" * 500

    kept.note(Entry(1.0, "call", tool=surrogate, client=surrogate, arguments=surrogate * 20))
    (found,) = kept.read()

    assert found.tool.startswith("___[31mxxx")
    assert (len(found.tool), len(found.client), len(found.arguments)) == (120, 120, 2000)
    assert found.tool.endswith("…")


@contextlib.contextmanager
def heard() -> Iterator[list[Event]]:
    events: list[Event] = []
    end = audit.listen(lambda event, fields: events.append(event))
    yield events
    end()


def a_folder(path: Path) -> None:
    path.mkdir(parents=True)


def no_permission(path: Path) -> None:
    path.parent.mkdir(parents=True)
    path.parent.with_name("target").mkdir()
    path.symlink_to(path.parent.with_name("target") / "gone" / "file")


@pytest.mark.parametrize("break_it", [a_folder, no_permission])
def test_a_file_that_cannot_be_written_is_said_once_and_used_as_soon_as_it_can_be(
    make: Callable[..., Trail], tmp_path: Path, break_it: Callable[[Path], None]
) -> None:
    path = tmp_path / "state" / "trail.sqlite3"
    break_it(path)
    with heard() as events:
        kept = make()
        for number in range(3):
            kept.note(call(number))
            assert not kept.flush()
        assert events == [Event.TRAIL_FAILED]

        path.unlink() if path.is_symlink() else path.rmdir()
        assert kept.flush()

        assert events == [Event.TRAIL_FAILED, Event.TRAIL_BACK]
    assert tools(kept.read()) == ["tool_2", "tool_1", "tool_0"]
    assert kept.read(kind="gate") == []


@pytest.mark.parametrize(
    "content",
    [b"garbage" * 1000, b"SQLite format 3\0" + b"\xff" * 5000, b"short"],
    ids=["garbage", "a head and garbage", "short"],
)
def test_a_damaged_file_is_put_aside_and_begun_anew(
    make: Callable[..., Trail], content: bytes, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    path = tmp_path / "trail.sqlite3"
    path.write_bytes(content)

    kept = make(path)
    kept.note(CALL)
    assert kept.flush()

    assert tools(kept.read()) == ["my_save"]
    assert path.with_name("trail.sqlite3.damaged").read_bytes() == content
    assert [line.getMessage().split()[0] for line in caplog.records if line.levelname] == [
        "[trail_not_kept]"
    ]
    assert f"it is now {path}.damaged" in caplog.text


def test_one_that_is_damaged_while_it_is_open_is_put_aside(
    make: Callable[..., Trail],
) -> None:
    kept = make()
    for number in range(200):
        kept.note(call(number))
    assert kept.flush()
    with kept.path.open("r+b") as file:
        file.write(b"x" * 20_000)

    kept.note(call(1000))
    assert kept.flush()

    assert tools(kept.read()) == ["tool_1000"]
    names = {path.name for path in kept.path.parent.iterdir()}
    assert names == {"trail.sqlite3", "trail.sqlite3.damaged"}


def test_what_would_be_played_back_into_the_new_file_is_put_aside_too(tmp_path: Path) -> None:
    path = tmp_path / "trail.sqlite3"
    for ending in ("", "-journal"):
        Path(f"{path}{ending}").write_text(ending)

    trailfile.put_aside(path)

    assert {each.name: each.read_text() for each in tmp_path.iterdir()} == {
        "trail.sqlite3.damaged": "",
        "trail.sqlite3.damaged-journal": "-journal",
    }


def test_one_that_is_taken_away_while_it_is_open_is_begun_anew(make: Callable[..., Trail]) -> None:
    kept = make()
    kept.note(call(1))
    assert kept.flush()
    kept.path.unlink()

    kept.note(call(2))
    assert kept.flush()

    assert tools(kept.read()) == ["tool_2"]


def test_a_state_directory_that_is_taken_away_is_not_made_again(
    make: Callable[..., Trail],
) -> None:
    kept = make()
    kept.note(call(1))
    assert kept.flush()
    kept.path.unlink()
    kept.path.parent.rmdir()

    kept.note(call(2))

    assert not kept.flush()
    assert not kept.path.parent.exists()


def test_on_a_full_disk_entries_wait_for_room(make: Callable[..., Trail], tmp_path: Path) -> None:
    with tmpfs(tmp_path / "small") as place:
        kept = make(place / "trail.sqlite3")
        kept.note(call(1))
        assert kept.flush()
        filler = fill(place)
        for number in range(2, 600):
            kept.note(call(number))
        assert not kept.flush()
        assert tools(read(kept.path)) == ["tool_1"]

        filler.unlink()
        assert kept.flush()

        assert len(kept.read(limit=1000)) == 599
        kept.close()


def test_what_does_not_fit_into_the_queue_is_counted_and_the_count_is_an_entry(
    make: Callable[..., Trail], tmp_path: Path
) -> None:
    path = tmp_path / "state" / "trail.sqlite3"
    path.mkdir(parents=True)
    kept = make()
    for number in range(trail.WAITING_ENTRIES + 7):
        kept.note(call(number))
    kept.flush()
    path.rmdir()

    assert kept.flush(20)

    assert len(kept.read(kind="call", limit=10_000)) == trail.WAITING_ENTRIES
    (lost,) = kept.read(kind="gate")
    assert (lost.event, lost.fields) == (LOST, {"entries": "7"})


def test_what_a_client_writes_without_end_does_not_wait_in_memory(tmp_path: Path) -> None:
    noted: list[Entry] = []

    class Noted(Trail):
        def note(self, entry: Entry) -> None:
            noted.append(entry)

    def add(server: FastMCP[Any], auth: PersonalAuthProvider) -> None:
        server.add_middleware(Calls(Noted(tmp_path / "trail"), named=["ping"]))

    house = AppServer(tmp_path / "state", add=add)
    _, tokens = connect(house)
    client = house.visitor(
        authorization=f"Bearer {tokens.access}", accept="application/json, text/event-stream"
    )
    for named in ({"name": "x" * 100_000}, {"name": "ping", "arguments": {"text": "x" * 100_000}}):
        call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": named}
        assert client.post("/mcp", json=call).status_code == 200
    house.stop()

    assert [len(clean(each.tool)) for each in noted] == [TEXT_CHARS, 4]
    assert [len(clean(each.arguments, ARGUMENTS_CHARS)) for each in noted] == [0, ARGUMENTS_CHARS]
    assert all(len(each.tool) + len(each.arguments) < 3000 for each in noted)


def test_an_entry_that_can_never_be_written_holds_up_no_other(make: Callable[..., Trail]) -> None:
    kept = make()
    kept.note(Entry(float("nan"), "call"))
    kept.flush()
    kept.note(CALL)
    assert kept.flush()

    assert tools(kept.read(kind="call")) == ["my_save"]
    assert kept.read(kind="gate")[0].fields == {"entries": "1"}


def test_after_its_end_it_hears_nothing_and_begins_again_when_opened(
    make: Callable[..., Trail],
) -> None:
    kept = make()
    kept.close()
    kept.note(call(1))
    audit.record(Event.REVOKED, grant="one")
    assert read(kept.path) == []
    assert "trail" not in {thread.name for thread in threading.enumerate()}

    kept.open()
    kept.note(call(2))

    assert tools(kept.read()) == ["tool_2"]


def test_two_servers_write_to_one_file(make: Callable[..., Trail]) -> None:
    one, other = make(), make()

    for number in range(0, 1000, 2):
        one.note(call(number))
        other.note(call(number + 1))
    assert one.flush(20)
    assert other.flush(20)

    assert len(one.read(limit=2000)) == 1000


def test_a_later_version_adds_to_the_file_and_an_earlier_one_still_writes_to_it(
    make: Callable[..., Trail], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = make()
    first.note(call(1))
    first.close()
    with monkeypatch.context() as later:
        steps = (*trailfile.STEPS, "ALTER TABLE entries ADD COLUMN later TEXT")
        later.setattr(trailfile, "STEPS", steps)
        second = make()
        second.note(call(2))
        second.close()
    third = make()
    third.note(call(3))
    third.close()

    assert tools(third.read()) == ["tool_3", "tool_2", "tool_1"]
    with contextlib.closing(sqlite3.connect(third.path)) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (len(trailfile.STEPS) + 1,)
        assert db.execute("SELECT count(*), count(later) FROM entries").fetchone() == (3, 0)


DIES = """
import os, signal, sys
from pathlib import Path
from personal_auth import trailfile
from personal_auth.trailfile import Entry, TrailFile
path = Path(sys.argv[1])
file = TrailFile(path, 10**8)
file.write([Entry(float(sys.argv[2]), "call", tool="kept")])
db = file._db
db.execute("PRAGMA cache_size = 1")
db.execute("BEGIN IMMEDIATE")
for number in range(500):
    lost = Entry(2.0, "call", tool="lost", client="x" * 100)
    db.execute(trailfile.INSERT + trailfile.ROW, trailfile._row(lost))
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_server_had_kept_that_was_killed_in_a_commit_is_read_and_written_on(
    make: Callable[..., Trail], tmp_path: Path
) -> None:
    path = tmp_path / "trail.sqlite3"
    source = str(Path(trail.__file__).parents[1])
    ended = subprocess.run(
        [sys.executable, "-c", DIES, str(path), str(CALL.at)],
        env={"PYTHONPATH": source},
        check=False,
    )
    assert ended.returncode == -signal.SIGKILL
    journal = path.with_name(f"{path.name}-journal")
    before = path.read_bytes(), journal.read_bytes()
    assert b"lost" in before[0]

    assert tools(read(path)) == ["kept"]
    assert (path.read_bytes(), journal.read_bytes()) == before

    kept = make(path)
    kept.note(call(1))
    assert tools(kept.read()) == ["tool_1", "kept"]


def test_no_secret_of_the_gate_is_in_the_file(
    site: Site, clock: Clock, owner: Visitor, tmp_path: Path
) -> None:
    kept = Trail(tmp_path / "trail.sqlite3", clock=clock)
    site.restart(trail=kept, limits=Limits(code_seconds=1))

    secrets = everything(site, owner, clock)
    owner.get("/authorize", params={"password": PASSWORD, "code": secrets["code"]})
    events = {entry.event for entry in kept.read(limit=1000)}
    site.stop()
    site.start()

    raw = kept.path.read_bytes()
    assert {"wrong_password", "connection_approved", "tokens_refreshed"} <= events
    assert {"connection_revoked", "connection_denied", "request_refused"} <= events
    assert b"connection_approved" in raw
    for name, secret in {**secrets, "password": PASSWORD, **owner.cookies}.items():
        assert secret.encode() not in raw, name
    assert b"code_challenge" not in raw
    assert not list(tmp_path.glob("trail.sqlite3-*"))


def test_one_that_cannot_be_read_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "trail.sqlite3"
    path.write_bytes(b"garbage" * 1000)

    with pytest.raises(TrailUnreadable, match=r"trail.sqlite3 cannot be read \(SQLITE_NOTADB\): "):
        read(path)
