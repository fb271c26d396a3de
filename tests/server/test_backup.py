"""A server is backed up while it works; the backup takes a place whole, or it is refused."""

from __future__ import annotations

import bisect
import contextlib
import gzip
import hashlib
import io
import itertools
import json
import os
import resource
import shutil
import sqlite3
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from personal_auth import StartRefused, moving
from personal_auth.errors import StoreUnavailable
from personal_auth.firststart import sealer_of
from personal_auth.statedir import StateDir
from personal_server import backup, destination, kept, restore
from personal_server.archive import BackupRefused
from personal_server.swap import Swap
from tests.support.owner import Connection, connect, rpc
from tests.support.process import MAIN, Running, command, environment
from tests.support.programs import redis

KEY = {"value": {"key": "ab" * 32}}
GRANT = {"value": {"epoch": "", "client": {"id": "a", "name": "An app"}}}
ROWS = {"owner": {"key": KEY}, "grants": {"0" * 16: GRANT}}


class Place:
    """A server's two folders, and the commands as they run on them."""

    def __init__(self, folder: Path, storage_url: str | None = None) -> None:
        self.state, self.data, self.folder = folder / "state", folder / "data", folder
        self.settings: Any = SimpleNamespace(
            state_dir=self.state,
            data_dir=self.data,
            public_url="https://mcp.example.com",
            storage_url=storage_url,
        )
        folder.mkdir(exist_ok=True)

    def fill(self, word: str) -> Place:
        self.state.mkdir()
        self.data.mkdir()
        rows = {**ROWS, "word": {word: {"value": {}}}}
        state = {"format": "personal-auth", "version": 1, "writer": "1.0.0", "rows": rows}
        (self.state / "oauth_tokens.json").write_text(json.dumps(state))
        (self.data / "sub").mkdir()
        (self.data / "sub" / f"{word} ä\n.txt").write_text(word)
        (self.data / "same.txt").write_text(word)
        return self

    def backup(self, name: str = "a.tar.gz", force: bool = False) -> Path:
        with destination.written(self.folder / name, self.settings, force) as out:
            self.made = backup.Backup(self.settings)
            self.made.write(out)
        return self.folder / name

    def restore(self, file: Path, force: bool = False) -> None:
        state_dir = StateDir(self.state)
        restore._take_lock(state_dir)
        try:
            with file.open("rb") as raw:
                restore.Restore(self.settings, state_dir, force).run(raw)
        finally:
            state_dir.release()

    def tree(self) -> dict[str, bytes]:
        """Everything that counts, with what it holds."""
        folders = (self.state, self.data)
        files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
        return {
            str(path.relative_to(self.folder)): path.read_bytes()
            for path in files
            if path.name != "lock"
        }

    def word(self) -> str:
        """Returns whose state and data are here; they must be of one."""
        state = json.loads((self.state / "oauth_tokens.json").read_text())
        (word,) = state["rows"]["word"]
        assert (self.data / "same.txt").read_text() == word
        assert [path.name for path in (self.data / "sub").iterdir()] == [f"{word} ä\n.txt"]
        return word


@pytest.fixture(autouse=True)
def _answers(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (backup, destination, restore):
        monkeypatch.setattr(module, "answers", lambda: {"project_name": "my-server"})


@pytest.fixture
def here(tmp_path: Path) -> Place:
    return Place(tmp_path / "here").fill("here")


@pytest.fixture
def there(tmp_path: Path) -> Place:
    return Place(tmp_path / "there")


def dies(work: Callable[[], object], at: int) -> bool:
    """Does it in a process that dies before its call number `at` of the disk; False: it ended."""
    child = os.fork()
    if child == 0:
        calls = itertools.count(1)

        def mortal(name: str) -> None:
            real = getattr(os, name)

            def call(*arguments: Any, **more: Any) -> Any:
                if next(calls) == at:
                    os._exit(9)
                return real(*arguments, **more)

            setattr(os, name, call)

        for name in ("open", "fsync", "rename", "replace", "link", "unlink", "mkdir", "rmdir"):
            mortal(name)
        try:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            work()
        except BaseException as error:
            os.write(2, repr(error).encode())
            os._exit(1)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in {0, 9}
    return code == 9


# A server that works


class Busy:
    """A client that keeps notes and one that renews its tokens, as fast as the server answers."""

    def __init__(self, url: str, password: str) -> None:
        self.writer = connect(url, password, "Writer")
        self.renewing = connect(url, password, "Renewing")
        self.kept = 0
        self.pairs = [(self.renewing.access_token, self.renewing.refresh_token)]
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=work) for work in (self._write, self._renew)]

    def __enter__(self) -> Busy:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _write(self) -> None:
        while not self._stop.is_set():
            text = f"Note {self.kept}. " + "Buy oat milk. " * 200
            rpc(self.writer, "tools/call", name="myserver_save", arguments={"text": text})
            self.kept += 1

    def _renew(self) -> None:
        while not self._stop.is_set():
            answer = self.renewing.refresh()
            assert answer.status_code == 200, answer.text
            self.renewing.access_token = answer.json()["access_token"]
            self.renewing.refresh_token = answer.json()["refresh_token"]
            self.pairs.append((self.renewing.access_token, self.renewing.refresh_token))


def status(connection: Connection) -> int:
    return connection.post({"jsonrpc": "2.0", "id": 1, "method": "tools/list"}).status_code


def test_a_server_that_works_is_backed_up_and_goes_on_elsewhere(
    project: Path, run: Callable[..., Running], tmp_path: Path
) -> None:
    server = run()
    password, url = server.password, server.url
    idle, lost = connect(url, password, "Idle"), connect(url, password, "Lost")
    file = tmp_path / "a.tar.gz"
    elsewhere = {"MCP_STATE_DIR": str(tmp_path / "s"), "MCP_DATA_DIR": str(tmp_path / "d")}

    with Busy(url, password) as busy:
        kept_before, pairs_before = busy.kept, len(busy.pairs)
        made = command(project, "backup", str(file), MCP_PORT=str(server.port))
        kept_after, pairs_after = busy.kept, len(busy.pairs)
    assert command(project, "connections", "revoke", "--all").returncode == 0
    server.stop()
    restored = command(project, "restore", str(file), MCP_PORT=str(server.port), **elsewhere)

    assert (made.returncode, made.stdout) == (0, ""), made.stderr
    assert made.stderr.startswith(f"Backed up to {file}: 4 connections and 1 file of ")
    assert file.stat().st_mode & 0o777 == 0o600
    assert restored.returncode == 0, restored.stderr
    assert "4 connections and 1 file." in restored.stdout
    assert "`my-server password --revoke-all` sets a password and ends them all" in restored.stdout

    again = run(MCP_PORT=str(server.port), **elsewhere)

    assert [status(client) for client in (idle, lost, busy.writer)] == [200, 200, 200]
    assert idle.refresh().status_code == 200
    assert connect(again.url, password)
    with contextlib.closing(sqlite3.connect(tmp_path / "d/notes.sqlite3")) as notes:
        ids = [id for (id,) in notes.execute("SELECT id FROM notes ORDER BY id")]
        assert notes.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert notes.execute("PRAGMA journal_mode").fetchall() == [("wal",)]
    assert ids == list(range(1, len(ids) + 1))
    assert kept_before <= len(ids) <= kept_after + 1
    newest = busy.renewing
    assert status(newest) == 401
    assert newest.refresh().json()["error"] == "invalid_grant"
    asked = [Connection(url, newest.client_id, *pair) for pair in busy.pairs]
    known = bisect.bisect(asked, 200, key=status)  # 200 up to the backup, then 401
    assert pairs_before <= known <= pairs_after + 1
    assert status(asked[0]) == 200  # what is unknown has ended nothing
    same = asked[known - 1].refresh().json()
    assert (same["access_token"], same["refresh_token"]) == busy.pairs[known]


# The file


def test_a_backup_holds_no_lock_socket_or_first_password(here: Place) -> None:
    for name in ("lock", "control.sock", "initial-password"):
        (here.state / name).write_text("a secret")
    (here.data / ".before-restore-1").mkdir()
    (here.data / ".before-restore-1" / "old").write_text("old")

    with tarfile.open(here.backup()) as archive:
        names = archive.getnames()
        sums = archive.extractfile("SHA256SUMS").read().decode()  # type: ignore[union-attr]

    assert names == [
        "manifest.json",
        "state/oauth_tokens.json",
        "data/same.txt",
        "data/sub",
        "data/sub/here ä\n.txt",
        "SHA256SUMS",
    ]
    assert b"a secret" not in gzip.decompress((here.folder / "a.tar.gz").read_bytes())
    assert f"{hashlib.sha256(b'here').hexdigest()}  data/same.txt\n" in sums


def test_a_file_that_is_there_is_not_overwritten_without_force(here: Place) -> None:
    (here.folder / "a.tar.gz").write_text("older")

    with pytest.raises(BackupRefused, match="there already and was left as it is: name another"):
        here.backup()

    assert (here.folder / "a.tar.gz").read_text() == "older"
    here.backup(force=True)
    assert tarfile.is_tarfile(here.folder / "a.tar.gz")


def test_a_backup_into_the_data_would_hold_itself(here: Place) -> None:
    with pytest.raises(BackupRefused, match="so the next backup would hold this one"):
        here.backup("data/a.tar.gz")


def test_without_a_state_nothing_is_backed_up(there: Place) -> None:
    with pytest.raises(BackupRefused, match="set MCP_STATE_DIR and MCP_STORAGE_URL as"):
        there.backup()

    assert not list(there.folder.iterdir())


def test_what_is_no_file_is_named_and_what_cannot_be_trusted_is_doubted(
    here: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    (here.data / "link").symlink_to("/etc/passwd")
    (here.data / "folder").symlink_to("/etc")
    os.mkfifo(here.data / "pipe")
    (here.data / "broken.sqlite3").write_bytes(b"SQLite format 3\0" + b"\xff" * 5000)

    here.backup()
    here.made.say("a.tar.gz")

    told = capsys.readouterr().err
    for name, what in (("link", "a link"), ("folder", "a link"), ("pipe", "no file")):
        assert f"Left out: {here.data / name} is {what}." in told
    assert f"Look at this: {here.data / 'broken.sqlite3'}: SQLite cannot read it" in told
    assert len(here.made.doubts) == 1


def test_folders_without_end_are_left_out_and_what_is_backed_up_can_be_restored(
    here: Place, there: Place
) -> None:
    deep = here.data / "/".join("a" * 250)
    deep.mkdir(parents=True)
    (deep / "f").write_text("x")

    there.restore(here.backup())

    [doubt] = here.made.doubts
    assert "lies too deep" in doubt
    assert there.word() == "here"
    assert (there.data / "/".join("a" * 150)).is_dir()


def test_a_file_that_changes_at_every_look_is_doubted(
    here: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, copyfileobj = here.data / "same.txt", shutil.copyfileobj

    def meanwhile(source: Any, target: Any) -> None:
        copyfileobj(source, target)
        with log.open("a") as more:
            more.write("x")

    monkeypatch.setattr(shutil, "copyfileobj", meanwhile)
    (here.data / "sub" / "here ä\n.txt").unlink()

    here.backup()

    assert here.made.doubts == [f"{log}: it changed while it was copied"]


def test_a_database_is_copied_with_what_its_journal_holds(here: Place, there: Place) -> None:
    path = here.data / "a ?#%.db"
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as writer:
        writer.execute("PRAGMA journal_mode = WAL")
        writer.execute("CREATE TABLE t (x)")
        writer.execute("INSERT INTO t VALUES (1)")
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("INSERT INTO t VALUES (2)")

        there.restore(here.backup())

    assert sorted(path.name for path in there.data.iterdir()) == ["a ?#%.db", "same.txt", "sub"]
    with contextlib.closing(sqlite3.connect(there.data / path.name)) as copied:
        assert copied.execute("SELECT x FROM t").fetchall() == [(1,)]


def test_a_large_folder_takes_no_memory(here: Place, there: Place) -> None:
    (here.data / "large").write_bytes(os.urandom(1_000_000) * 25)
    with contextlib.closing(sqlite3.connect(here.data / "large.db")) as writer:
        writer.execute("CREATE TABLE t (x)")
        writer.execute("INSERT INTO t VALUES (zeroblob(25000000))")
        writer.commit()

    def grown(work: Callable[[], object]) -> None:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        work()
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 16_000

    assert not dies(lambda: grown(here.backup), 0)
    assert not dies(lambda: grown(lambda: there.restore(here.folder / "a.tar.gz")), 0)

    assert (there.data / "large").read_bytes() == (here.data / "large").read_bytes()


# Deaths


def test_a_backup_that_dies_leaves_no_file_of_that_name(here: Place) -> None:
    before = here.tree()

    for at in itertools.count(1):
        if not dies(here.backup, at):
            break
        if (here.folder / "a.tar.gz").exists():
            with tarfile.open(here.folder / "a.tar.gz") as archive:
                assert archive.getnames()[-1] == "SHA256SUMS"
            (here.folder / "a.tar.gz").unlink()
        for left in [*here.folder.glob(".*.part"), *here.state.glob(".backup-*")]:
            os.utime(left, (0, 0))  # so the next one may take it for dead

    assert at > 8
    assert {name: here.tree()[name] for name in before} == before
    here.backup(force=True)
    assert sorted(path.name for path in here.folder.iterdir()) == ["a.tar.gz", "data", "state"]
    assert here.tree() == before


def test_a_restore_that_dies_anywhere_is_finished_by_the_next(here: Place, tmp_path: Path) -> None:
    file = here.backup()

    moments = set()
    for at in itertools.count(1):
        there = Place(tmp_path / f"there-{at}").fill("there")
        (there.state / "initial-password").write_text("of there")
        if not dies(lambda there=there: there.restore(file, force=True), at):
            break
        begun = there.state.joinpath("restore-under-way").exists()
        moments.add(begun)
        if begun:
            with pytest.raises(StartRefused, match="cut off: run `restore` with it once more"):
                StateDir(there.state).check_whole()
        else:
            assert there.word() in {"here", "there"}
        unfinished = begun or there.word() == "there"

        there.restore(file, force=not begun)

        assert there.word() == "here"
        StateDir(there.state).check_whole()
        assert not (there.state / "initial-password").exists()
        names = [path.name for path in [*there.state.iterdir(), *there.data.iterdir()]]
        assert not [name for name in names if name.startswith(".restore-")]
        asides = list(there.folder.glob("*/.before-restore-*/same.txt"))
        assert "there" in {path.read_text() for path in asides} or not unfinished
        shutil.rmtree(there.folder)

    assert moments == {True, False}
    assert there.word() == "here"


# Refusals


def test_nothing_is_restored_over_what_is_there_without_force(
    here: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    there = Place(tmp_path / "there").fill("there")
    (there.data / "same.txt").rename(there.data / "same.txt")
    before = there.tree()

    with pytest.raises(BackupRefused, match="--force puts aside what is there and restores"):
        there.restore(here.backup())

    assert there.tree() == before
    there.restore(here.folder / "a.tar.gz", force=True)
    (aside,) = there.data.glob(".before-restore-*")
    assert there.word() == "here"
    assert (aside / "same.txt").read_text() == "there"
    assert str(aside) in capsys.readouterr().out


def test_nothing_is_restored_under_a_server_that_runs(here: Place, tmp_path: Path) -> None:
    there = Place(tmp_path / "there").fill("there")
    file, before = here.backup(), there.tree()
    for holds in (StateDir.acquire, StateDir.share):
        server = StateDir(there.state)
        assert holds(server)

        with pytest.raises(BackupRefused, match="stop it, restore, then start it again"):
            there.restore(file, force=True)

        server.release()
    assert there.tree() == before


def member(name: str, raw: bytes = b"", kind: bytes = tarfile.REGTYPE, **more: Any) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.type = more.pop("size", len(raw)), kind
    for attribute, value in more.items():
        setattr(info, attribute, value)
    return info.tobuf(tarfile.GNU_FORMAT) + raw + bytes(-len(raw) % 512)


def rebuilt(file: Path, change: Callable[[bytes], bytes]) -> bytes:
    return gzip.compress(change(gzip.decompress(file.read_bytes())))


def among(extra: bytes) -> Callable[[Path], bytes]:
    """Puts members behind the state of a backup."""
    marker = b"data/same.txt"

    def change(tar: bytes) -> bytes:
        at = tar.index(marker)
        return tar[:at] + extra + tar[at:]

    return lambda file: rebuilt(file, change)


HOSTILE: dict[str, Callable[[Path], bytes]] = {
    "text": lambda file: b"not a backup at all",
    "nothing": lambda file: b"",
    "another gzip": lambda file: gzip.compress(b"x" * 2000),
    "another tar": lambda file: gzip.compress(member("a.txt", b"x") + bytes(1024)),
    "without its last byte": lambda file: file.read_bytes()[:-1],
    "half": lambda file: file.read_bytes()[: len(file.read_bytes()) // 2],
    "a few bytes": lambda file: file.read_bytes()[:40],
    "another byte": lambda file: rebuilt(file, lambda tar: tar.replace(b"\0here\0", b"\0hexe\0")),
    "a changed file": lambda file: rebuilt(
        file, lambda tar: tar.replace(b"here" + bytes(508), b"hers" + bytes(508))
    ),
    "no sums": lambda file: rebuilt(
        file, lambda tar: tar[: tar.index(b"SHA256SUMS")] + bytes(2048)
    ),
    "more behind the end": lambda file: file.read_bytes() + gzip.compress(b"x"),
    "a later format": lambda file: rebuilt(
        file, lambda tar: tar.replace(b'"version": 1,', b'"version": 2,')
    ),
    "a later state": lambda file: rebuilt(
        file, lambda tar: tar.replace(b'"version":1,', b'"version":9,')
    ),
    "up": among(member("data/../../up", b"x")),
    "absolute": among(member("/tmp/up", b"x")),
    "outside": among(member("etc/passwd", b"x")),
    "a link": among(member("data/l", kind=tarfile.SYMTYPE, linkname="/etc")),
    "a hard link": among(member("data/l", kind=tarfile.LNKTYPE, linkname="/etc/passwd")),
    "a device": among(member("data/d", kind=tarfile.CHRTYPE)),
    "a pipe": among(member("data/d", kind=tarfile.FIFOTYPE)),
    "a long header": among(member("x", kind=tarfile.XHDTYPE, size=1 << 40)),
    "a long name": among(member("x", kind=tarfile.GNUTYPE_LONGNAME, size=1 << 40)),
    "folders without end": among(
        b"".join(member("data" + "/a" * n, kind=tarfile.DIRTYPE) for n in range(1, 1200))
    ),
    "a file in folders without end": among(member("data" + "/a" * 1900 + "/f", b"x")),
    "a file twice": among(member("data/same.txt", b"x")),
    "a file as a folder": among(member("data/f", b"x") + member("data/f/g", b"x")),
    "a name of ours": among(member("data/.before-restore-1/x", b"x")),
    "more than the disk": among(member("data/x", size=1 << 60)),
    "a negative size": among(member("data/x", size=-512)),
    "a second state": among(member("state/oauth_tokens.json", b"{}")),
    "an endless state": lambda file: rebuilt(
        file,
        lambda tar: tar[: tar.index(b"state/")] + member("state/oauth_tokens.json", size=1 << 40),
    ),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_backup_that_is_not_ours_or_not_whole_changes_nothing(
    here: Place, tmp_path: Path, kind: str
) -> None:
    there = Place(tmp_path / "there").fill("there")
    before = there.tree()
    bad = tmp_path / "bad"
    bad.write_bytes(HOSTILE[kind](here.backup()))

    with pytest.raises((BackupRefused, OSError)) as refused:
        there.restore(bad, force=True)

    assert isinstance(refused.value, OSError) == (kind == "more than the disk")
    assert there.tree() == before
    assert not list(there.folder.rglob(".restore-*"))


# Another user, another store


def test_what_is_restored_belongs_to_whoever_restores_it(here: Place, there: Place) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    (here.data / "same.txt").chmod(0o4755)
    file = here.backup()
    shutil.copy(file, "/tmp/of-another-user")
    os.chmod("/tmp/of-another-user", 0o644)
    folder = Path("/tmp/restored-by-another-user")
    folder.mkdir()
    os.chown(folder, 65534, 65534)
    try:

        def as_nobody() -> None:
            os.setuid(65534)
            Place(folder).restore(Path("/tmp/of-another-user"))

        assert not dies(as_nobody, 0)

        owners = {path.stat().st_uid for path in folder.rglob("*")}
        assert owners == {65534}
        assert (folder / "data/same.txt").stat().st_mode & 0o7777 == 0o755
        assert (folder / "state/oauth_tokens.json").stat().st_mode & 0o7777 == 0o600
    finally:
        shutil.rmtree(folder)
        os.unlink("/tmp/of-another-user")


@pytest.fixture(scope="module")
def store() -> Iterator[str]:
    with redis() as url:
        yield url


def test_a_backup_of_files_goes_into_a_store_and_back(
    here: Place, tmp_path: Path, store: str
) -> None:
    on_store = Place(tmp_path / "store", store)
    back, second = Place(tmp_path / "back"), Place(tmp_path / "second").fill("second")

    on_store.restore(here.backup())
    with pytest.raises(BackupRefused, match="a state in the store that MCP_STORAGE_URL names"):
        Place(tmp_path / "fresh", store).restore(second.backup())
    back.restore(on_store.backup())

    assert back.word() == "here"
    on_store.restore(second.folder / "a.tar.gz", force=True)
    (aside,) = on_store.state.glob(".before-restore-*/store-oauth_tokens.json")
    assert "here" in json.loads(aside.read_text())["rows"]["word"]
    names = {(collection, key) for collection, key, _ in kept.rows(store)}
    assert names == {("owner", "key"), ("grants", "0" * 16), ("word", "second")}


def test_a_store_that_is_filled_by_half_opens_no_server(
    here: Place, tmp_path: Path, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_store, put, puts = Place(tmp_path / "store", store), moving._put, itertools.count()

    async def lost(where: Any, what: Any) -> None:
        if next(puts) == 1:
            raise ConnectionError
        await put(where, what)

    monkeypatch.setattr(moving, "_put", lost)
    with pytest.raises(StoreUnavailable, match="try again once it answers"):
        on_store.restore(here.backup(), force=True)

    (half,) = [row.value for collection, _, row in kept.rows(store) if collection == "owner"]
    with pytest.raises(StartRefused, match="into this store was cut off: run `restore`"):
        sealer_of(half)
    with pytest.raises(StartRefused, match="cut off"):
        StateDir(on_store.state).check_whole()
    on_store.restore(here.folder / "a.tar.gz")
    assert kept.has_key(kept.rows(store))
    assert {key for place, key, _ in kept.rows(store) if place == "word"} == {"here"}


def test_an_archive_can_be_unpacked_by_hand(here: Place, tmp_path: Path) -> None:
    with tarfile.open(fileobj=io.BytesIO(here.backup().read_bytes())) as archive:
        archive.extractall(tmp_path / "x", filter="data")

    assert (tmp_path / "x/data/same.txt").read_text() == "here"


def test_a_backup_goes_through_a_pipe(project: Path, tmp_path: Path) -> None:
    place = Place(tmp_path / "p").fill("here")
    to = {"MCP_STATE_DIR": str(tmp_path / "s"), "MCP_DATA_DIR": str(tmp_path / "d")}
    of = {"MCP_STATE_DIR": str(place.state), "MCP_DATA_DIR": str(place.data)}
    program = [sys.executable, "-c", MAIN]

    made = subprocess.run(
        [*program, "backup", "-"], env=environment(project, **of), capture_output=True
    )
    restored = subprocess.run(
        [*program, "restore", "-"],
        env=environment(project, **to),
        capture_output=True,
        input=made.stdout,
    )
    misspelt = command(project, "backup", "--forse")

    assert (made.returncode, restored.returncode) == (0, 0), restored.stderr
    assert b"Backed up to standard output: 1 connection and 2 files" in made.stderr
    assert (tmp_path / "d/same.txt").read_text() == "here"
    assert (misspelt.returncode, misspelt.stdout) == (2, "")
    assert misspelt.stderr.startswith("--forse is no option: it is --force")


def test_what_was_put_in_its_place_stays_there_however_often_the_move_is_begun_again(
    tmp_path: Path,
) -> None:
    swap = Swap(tmp_path, ".staged", ".aside", ["notes.db"], ["notes.db"])
    (tmp_path / ".staged").mkdir()
    (tmp_path / ".staged/notes.db").write_text("restored")

    swap.carry_out()  # somebody has deleted the old one
    swap.carry_out()

    assert (tmp_path / "notes.db").read_text() == "restored"
