"""What survives: restarts, deaths, damaged files, failing stores, other stores."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from key_value.aio.stores.memory import MemoryStore
from key_value.aio.wrappers.timeout import TimeoutWrapper

from personal_auth import Limits, PersonalAuthProvider
from personal_auth.control import ControlStore
from personal_auth.errors import StartRefused, StoreUnavailable
from personal_auth.grants import Tokens
from personal_auth.owner import is_hash
from personal_auth.records import Records
from personal_auth.statedir import StateDir
from personal_auth.store import Put
from tests.support.site import PASSWORD, App, Clock, Site, approve, connect
from tests.support.site import ticket as ticket_of

ISSUER = "https://mcp.example.com"


def stored(site: Site) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((site.state_dir / "oauth_tokens.json").read_text())
    return document


def test_the_state_file_is_private_and_holds_no_token(site: Site) -> None:
    _, tokens = connect(site)

    file = site.state_dir / "oauth_tokens.json"

    assert file.stat().st_mode & 0o777 == 0o600
    assert site.state_dir.stat().st_mode & 0o777 == 0o700
    assert tokens["access_token"] not in file.read_text()


def test_what_a_token_answer_grants_is_on_disk_before_the_answer(site: Site) -> None:
    connect(site)

    assert len(stored(site)["rows"]["grants"]) == 1


def test_a_refused_token_or_an_opened_page_writes_nothing(site: Site) -> None:
    before = (site.state_dir / "oauth_tokens.json").stat().st_mtime_ns
    app = App.register(site)

    site.visitor().call("pat_made-up")
    site.visitor().get("/authorize", params=app.query())
    app.redeem("pac_made-up")
    app.refresh("prt_made-up")

    assert (site.state_dir / "oauth_tokens.json").stat().st_mtime_ns == before


def test_expired_records_leave_the_file(site: Site, clock: Clock) -> None:
    site.restart(access_token_expiry_seconds=100)
    app, tokens = connect(site)
    before = len(stored(site)["rows"]["tokens"])

    clock.advance(101)
    app.refresh(tokens["refresh_token"])

    assert (before, len(stored(site)["rows"]["tokens"])) == (1, 1)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("{", "damaged"),
        ("", "damaged"),
        ("[]", "not written by this server"),
        ('{"hello": 1}', "not written by this server"),
        ('{"format": "personal-auth", "version": 99, "rows": {}}', "version 99"),
        ('{"format": "personal-auth", "version": 1, "rows": {"a": {"b": 1}}}', "damaged"),
        ("\x00" * 100, "damaged"),
        ("[" * 200_000, "damaged"),
        (
            '{"format": "personal-auth", "version": 1,'
            ' "rows": {"a": {"b": {"value": {}, "expires": "soon"}}}}',
            "damaged",
        ),
        (
            '{"format": "personal-auth", "version": 1,'
            ' "rows": {"owner": {"key": {"value": {"key": "no hex"}}}}}',
            "no usable key",
        ),
    ],
)
def test_a_file_that_cannot_be_used_stops_the_start_and_is_left_alone(
    tmp_path: Path, clock: Clock, content: str, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "oauth_tokens.json"
    file.write_text(content)
    provider = PersonalAuthProvider("https://mcp.example.com", state_dir=tmp_path)

    with pytest.raises(SystemExit) as stopped:
        provider.get_routes("/mcp")

    assert stopped.value.code == 2
    assert sentence in capsys.readouterr().err
    assert file.read_text() == content
    provider._state_dir.release()


def test_a_second_server_on_one_directory_does_not_start(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    provider = PersonalAuthProvider("https://mcp.example.com", state_dir=site.state_dir)

    with pytest.raises(SystemExit) as stopped:
        provider.get_routes("/mcp")

    assert stopped.value.code == 2
    assert "Another server runs on the state directory" in capsys.readouterr().err


def test_the_constructor_touches_nothing(tmp_path: Path) -> None:
    PersonalAuthProvider("https://mcp.example.com", state_dir=tmp_path / "state")

    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def failing(tmp_path: Path, clock: Clock) -> Iterator[Site]:
    class Failing(PersonalAuthProvider):
        broken = False

        def _save_snapshot(self, raw: bytes) -> None:
            if self.broken:
                raise OSError(28, "No space left on device")
            super()._save_snapshot(raw)

    site = Site(tmp_path / "state", clock, provider_class=Failing)
    yield site
    site.provider.broken = False
    site.stop()


def test_a_full_disk_is_503_until_it_has_room_again(failing: Site) -> None:
    app, tokens = connect(failing)
    code = approve(App.register(failing))

    failing.provider.broken = True
    refused = app.refresh(tokens["refresh_token"])
    page = failing.visitor().get("/authorize", params=App.register(failing).query())
    still = failing.visitor().call(tokens["access_token"])
    failing.provider.broken = False
    retried = app.refresh(tokens["refresh_token"])

    assert code
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
    assert refused.json()["error"] == "temporarily_unavailable"
    assert page.status_code == 200
    assert still.status_code == 200
    assert retried.status_code == 200


def test_a_revocation_that_is_not_on_disk_is_not_acknowledged(failing: Site) -> None:
    app, tokens = connect(failing)
    form = {"token": tokens["access_token"], "client_id": app.id}

    failing.provider.broken = True
    refused = [failing.visitor().post("/revoke", data=form).status_code for _ in range(3)]
    failing.provider.broken = False
    accepted = failing.visitor().post("/revoke", data=form).status_code

    assert refused == [503, 503, 503]
    assert accepted == 200
    assert stored(failing)["rows"]["grants"] == {}


def test_revoking_what_is_no_connection_changes_nothing(site: Site) -> None:
    _, tokens = connect(site)

    async def revoke() -> list[bool]:
        command = PersonalAuthProvider("https://mcp.example.com", state_dir=site.state_dir)
        async with command.service.for_a_command() as service:
            await service.connections.revoke_all()
            return [await service.connections.revoke(key) for key in ("epoch", "", "x" * 16)]

    assert asyncio.run(revoke()) == [False, False, False]
    assert site.visitor().call(tokens["access_token"]).status_code == 401


def test_a_password_that_cannot_be_told_is_not_stored(tmp_path: Path) -> None:
    state = tmp_path / "state"
    (state / "initial-password").mkdir(parents=True)
    provider = PersonalAuthProvider("https://mcp.example.com", state_dir=state)

    with pytest.raises(SystemExit):
        provider.get_routes("/mcp")

    assert not (state / "oauth_tokens.json").exists()
    provider._state_dir.release()


def test_another_store_gets_a_generated_password_that_the_owner_is_told(
    tmp_path: Path, clock: Clock
) -> None:
    site = Site(tmp_path / "state", clock, client_storage=MemoryStore(), password=None)
    try:
        password = (site.state_dir / "initial-password").read_text().strip()
        owner, app = site.visitor(), App.register(site)
        page = owner.get("/authorize", params=app.query())
        answer = owner.submit(ticket=ticket_of(page), password=password, decision="approve")
        assert answer.status_code == 303
    finally:
        site.stop()


@pytest.mark.parametrize(
    "password", ["", "=19=19456,t=2,p=1", "$argon2id$v=19$m=19456$abc", "a\nb", "\udcff\udcfe"]
)
def test_a_password_that_cannot_be_meant_is_refused(tmp_path: Path, password: str) -> None:
    with pytest.raises(ValueError, match="password"):
        PersonalAuthProvider("https://mcp.example.com", password, state_dir=tmp_path)


def test_secrets_are_in_no_repr(tmp_path: Path) -> None:
    provider = PersonalAuthProvider("https://mcp.example.com", PASSWORD, state_dir=tmp_path)
    shown = repr([provider.service._plan, Put("c", "k", {"key": "SECRET"}), provider])
    shown += repr(Tokens("SECRET", "SECRET", (), 0.0))

    assert PASSWORD not in shown
    assert "SECRET" not in shown


# The hooks of the file store


class Elsewhere(PersonalAuthProvider):
    """Keeps the state somewhere else than in the state directory."""

    kept: dict[str, Any] | None = None
    loading: Exception | None = None
    saving: Exception | None = None
    saves = 0

    def _load_state(self) -> dict[str, Any] | None:
        if self.loading is not None:
            raise self.loading
        return type(self).kept

    def _save_state(self, state: dict[str, Any]) -> None:
        if self.saving is not None:
            raise self.saving
        type(self).kept = state
        type(self).saves += 1


@pytest.fixture
def elsewhere() -> type[Elsewhere]:
    return type("Elsewhere", (Elsewhere,), {})


def refused(provider: PersonalAuthProvider, capsys: pytest.CaptureFixture[str]) -> str:
    """Returns the sentence with which a start is refused."""
    with pytest.raises(SystemExit) as stopped:
        provider.get_routes("/mcp")
    assert stopped.value.code == 2
    sentence = capsys.readouterr().err
    assert sentence.count("\n") == 1
    return sentence


def test_a_state_that_is_kept_elsewhere_survives_a_restart_without_its_directory(
    tmp_path: Path, clock: Clock, elsewhere: type[Elsewhere]
) -> None:
    site = Site(tmp_path / "state", clock, provider_class=elsewhere)
    try:
        app, tokens = connect(site)
        written = (site.state_dir / "oauth_tokens.json").exists()
        site.stop()
        shutil.rmtree(site.state_dir)
        site.start()
        called = site.visitor().call(tokens["access_token"])
        fresh = app.refresh(tokens["refresh_token"])

        assert not written
        assert (called.status_code, fresh.status_code) == (200, 200)
    finally:
        site.stop()


def test_a_hook_may_use_what_it_overrides(tmp_path: Path, clock: Clock) -> None:
    class Watching(PersonalAuthProvider):
        seen: ClassVar[list[str]] = []

        def _load_state(self) -> dict[str, Any] | None:
            self.seen.append("load")
            return super()._load_state()

        def _save_state(self, state: dict[str, Any]) -> None:
            self.seen.append("save")
            super()._save_state(state)
            state.clear()  # it is the hook's own

    site = Site(tmp_path / "state", clock, provider_class=Watching)
    try:
        _, tokens = connect(site)
        site.restart()
        assert site.visitor().call(tokens["access_token"]).status_code == 200
        assert Watching.seen[:2] == ["load", "save"]
        assert stored(site)["rows"]["grants"]
    finally:
        site.stop()


def test_a_save_that_raises_is_503_until_it_works_again(
    tmp_path: Path,
    clock: Clock,
    elsewhere: type[Elsewhere],
    caplog: pytest.LogCaptureFixture,
) -> None:
    site = Site(tmp_path / "state", clock, provider_class=elsewhere)
    try:
        app, tokens = connect(site)
        elsewhere.saving = RuntimeError("postgres://owner:SECRET@host")
        refresh = app.refresh(tokens["refresh_token"])
        called = site.visitor().call(tokens["access_token"])
        elsewhere.saving = None
        again = app.refresh(tokens["refresh_token"])

        assert [a.status_code for a in (refresh, called, again)] == [503, 200, 200]
        assert "reason=RuntimeError" in caplog.text
        assert "SECRET" not in caplog.text + refresh.text
    finally:
        site.stop()


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left"), RuntimeError("SECRET"), KeyError()]
)
def test_a_save_that_raises_at_the_start_stops_it_with_a_sentence(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    elsewhere: type[Elsewhere],
    error: Exception,
) -> None:
    elsewhere.saving = error

    sentence = refused(elsewhere(ISSUER, PASSWORD, state_dir=tmp_path), capsys)

    assert "The state cannot be written" in sentence
    assert "SECRET" not in sentence


@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), RuntimeError("SECRET")])
def test_a_load_that_raises_stops_the_start_and_nothing_is_saved(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    elsewhere: type[Elsewhere],
    error: Exception,
) -> None:
    elsewhere.loading = error

    sentence = refused(elsewhere(ISSUER, PASSWORD, state_dir=tmp_path), capsys)

    assert "The stored state cannot be loaded" in sentence
    assert "SECRET" not in sentence
    assert elsewhere.saves == 0


@pytest.mark.parametrize("state", [[], "text", 7, {}, {"rows": {}}, {"clients": 1}], ids=str)
def test_a_load_that_returns_something_else_stops_the_start_and_nothing_is_saved(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    elsewhere: type[Elsewhere],
    state: Any,
) -> None:
    elsewhere.kept = state

    assert "left as it" in refused(elsewhere(ISSUER, PASSWORD, state_dir=tmp_path), capsys)
    assert (elsewhere.saves, elsewhere.kept) == (0, state)


def test_a_refused_start_can_be_repeated_and_then_begins_anew(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], elsewhere: type[Elsewhere]
) -> None:
    provider = elsewhere(ISSUER, PASSWORD, state_dir=tmp_path)
    elsewhere.saving = OSError(28, "No space left")
    sentences = {refused(provider, capsys) for _ in range(2)}
    free = StateDir(tmp_path)
    unlocked = free.acquire()
    free.release()
    elsewhere.saving = None

    provider.get_routes("/mcp")

    assert len(sentences) == 1
    assert unlocked
    assert elsewhere.kept is not None
    assert list(elsewhere.kept["rows"]) == ["owner"]
    provider._state_dir.release()


def test_a_command_that_is_refused_lets_go_of_the_directory(
    tmp_path: Path, elsewhere: type[Elsewhere]
) -> None:
    elsewhere.loading = RuntimeError()
    command = elsewhere(ISSUER, PASSWORD, state_dir=tmp_path)

    async def use() -> None:
        async with command.service.for_a_command():
            raise AssertionError("not reached")

    with pytest.raises(StartRefused):
        asyncio.run(use())
    folder = StateDir(tmp_path)

    assert folder.acquire()
    folder.release()


@pytest.mark.parametrize("key", ["", "ab", "0" * 62, "no hex", None, 7], ids=repr)
def test_a_short_key_is_no_key(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], elsewhere: type[Elsewhere], key: object
) -> None:
    rows = {"owner": {"key": {"value": {"key": key}}}}
    elsewhere.kept = {"format": "personal-auth", "version": 1, "rows": rows}

    sentence = refused(elsewhere(ISSUER, PASSWORD, state_dir=tmp_path), capsys)

    assert "no usable key" in sentence
    assert elsewhere.saves == 0


def test_any_key_value_store_keeps_the_state_instead(tmp_path: Path, clock: Clock) -> None:
    store = MemoryStore()
    site = Site(tmp_path / "state", clock, client_storage=store)
    try:
        app, tokens = connect(site)
        fresh = app.refresh(tokens["refresh_token"]).json()
        again = app.refresh(tokens["refresh_token"]).json()
        site.restart()
        assert fresh == again
        assert site.visitor().call(fresh["access_token"]).status_code == 200
        assert not (site.state_dir / "oauth_tokens.json").exists()
    finally:
        site.stop()


class Away:
    """A store that cannot be reached, or hangs."""

    def __init__(self, hang: bool) -> None:
        self._hang = hang

    async def get(self, key: str, *, collection: str | None = None) -> None:
        if self._hang:
            await asyncio.sleep(60)
        raise ConnectionError

    async def put(self, *args: Any, **kwargs: Any) -> None:
        await self.get("")

    async def delete(self, key: str, *, collection: str | None = None) -> bool:
        await self.get("")
        return False


@pytest.mark.parametrize("hang", [False, True], ids=["refused", "hanging"])
def test_a_store_that_is_away_is_unavailable_within_its_bound(hang: bool) -> None:
    records = Records(Away(hang), call_seconds=0.05)

    async def ask() -> None:
        for call in (
            records.get("a", "b"),
            records.delete("a", "b"),
            records.put(Put("a", "b", {})),
        ):
            with pytest.raises(StoreUnavailable):
                await call

    asyncio.run(ask())


def test_the_owners_commands_reach_a_running_server(site: Site) -> None:
    store = ControlStore(site.state_dir / "control.sock")

    async def use() -> tuple[Any, ...]:
        await store.put("k", {"a": 1}, collection="c", ttl=60)
        found = await store.get("k", collection="c")
        keys = await store.all_keys("c")
        return found, keys, await store.delete("k", collection="c"), await store.all_keys("c")

    assert asyncio.run(use()) == ({"a": 1}, ["k"], True, [])
    assert os.stat(os.path.realpath(site.state_dir / "control.sock")).st_mode & 0o777 == 0o600


@pytest.mark.parametrize("depth", [1, 40], ids=["short path", "path too long for a socket"])
def test_a_password_changed_beside_a_running_server_holds_at_once(
    tmp_path: Path, clock: Clock, depth: int
) -> None:
    folder = tmp_path.joinpath(*["deeper"] * depth)
    site = Site(folder, clock, password=None)
    try:
        command = PersonalAuthProvider("https://mcp.example.com", state_dir=folder)

        async def change() -> None:
            async with command.service.for_a_command() as service:
                await service.owner.change_password(PASSWORD)

        asyncio.run(change())
        assert approve(App.register(site))
        assert not (folder / "initial-password").exists()
    finally:
        site.stop()


def test_revoking_all_from_a_command_ends_every_connection(site: Site) -> None:
    app, tokens = connect(site)
    command = PersonalAuthProvider("https://mcp.example.com", state_dir=site.state_dir)

    async def revoke() -> int:
        async with command.service.for_a_command() as service:
            before = len(await service.connections.all())
            await service.connections.revoke_all()
            return before - len(await service.connections.all())

    assert asyncio.run(revoke()) == 1
    assert site.visitor().call(tokens["access_token"]).status_code == 401
    assert app.refresh(tokens["refresh_token"]).status_code == 400


def test_a_command_without_a_server_uses_the_directory_itself(tmp_path: Path) -> None:
    command = PersonalAuthProvider("https://mcp.example.com", state_dir=tmp_path)

    async def change() -> None:
        async with command.service.for_a_command() as service:
            await service.owner.change_password(PASSWORD)

    asyncio.run(change())

    rows = json.loads((tmp_path / "oauth_tokens.json").read_text())["rows"]
    assert is_hash(rows["owner"]["password"]["value"]["hash"])
    assert StateDir(tmp_path).acquire()


def test_a_directory_that_cannot_be_written_is_refused_with_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(StartRefused, match="cannot be written"):
        StateDir(tmp_path / "file" / "state").acquire()


def test_limits_can_be_set_and_a_registration_table_evicts_the_oldest(
    tmp_path: Path, clock: Clock
) -> None:
    site = Site(tmp_path / "s", clock, limits=Limits(sealed_client_id=0, stored_clients=3))
    try:
        approved = App.register(site)
        assert approved.redeem(approve(approved)).status_code == 200
        apps = [App.register(site) for _ in range(5)]
        found = [site.visitor().get("/authorize", params=app.query()).status_code for app in apps]
        assert found == [400, 400, 200, 200, 200]
        assert approve(approved)  # an approved client is never evicted
    finally:
        site.stop()


def test_a_page_opened_before_a_restart_can_be_answered_after_it(
    site: Site,
) -> None:
    app, owner = App.register(site), site.visitor()
    ticket = ticket_of(owner.get("/authorize", params=app.query()))

    site.restart()
    answer = owner.submit(ticket=ticket, password=PASSWORD, decision="approve")

    assert answer.status_code == 303


def test_a_store_that_is_away_at_the_start_is_503_until_it_comes_back(
    tmp_path: Path, clock: Clock
) -> None:
    class Returning(MemoryStore):
        away = True

        async def get(self, key: str, *, collection: str | None = None) -> dict[str, Any] | None:
            if self.away:
                raise ConnectionError
            return await super().get(key, collection=collection)

    store = Returning()
    site = Site(tmp_path / "state", clock, client_storage=store)
    try:
        register = {"redirect_uris": ["https://claude.ai/cb"]}
        away = site.visitor().post("/register", json=register)
        metadata = site.visitor().get("/.well-known/oauth-authorization-server")
        token = site.visitor().call("pat_any")
        store.away = False
        back = site.visitor().post("/register", json=register)
        codes = [a.status_code for a in (away, metadata, token, back)]
        assert codes == [503, 200, 503, 201]
    finally:
        site.stop()


def test_a_password_that_was_stored_by_a_call_that_failed_is_told_all_the_same(
    tmp_path: Path, clock: Clock
) -> None:
    class Interrupted(MemoryStore):
        fails = True

        async def put(self, key: str, value: Any, **options: Any) -> None:
            await super().put(key, value, **options)
            if key == "password" and self.fails:
                self.fails = False
                raise ConnectionError

    site = Site(tmp_path / "state", clock, client_storage=Interrupted(), password=None)
    try:
        app, owner = App.register(site), site.visitor()
        [left] = (tmp_path / "state").iterdir()
        ticket = ticket_of(owner.get("/authorize", params=app.query()))
        password = left.read_text().strip()
        answer = owner.submit(ticket=ticket, password=password, decision="approve")
        assert (left.name, answer.status_code) == ("initial-password", 303)
        assert not left.exists()
    finally:
        site.stop()


def test_a_password_that_was_stored_by_a_server_that_died_is_told_by_the_next(
    tmp_path: Path, clock: Clock
) -> None:
    store, state = MemoryStore(), tmp_path / "state"
    Site(state, clock, client_storage=store, password=None).stop()
    told, left, other = (state / f"initial-password{end}" for end in ("", ".0a1b2c3d", ".ffffffff"))
    told.rename(left)  # as a death before it was told leaves it
    other.write_text("of a server that died before it was stored\n")
    os.utime(other, (0, 0))

    site = Site(state, clock, client_storage=store, password=None)
    try:
        app, owner = App.register(site), site.visitor()
        ticket = ticket_of(owner.get("/authorize", params=app.query()))
        password = told.read_text().strip()
        answer = owner.submit(ticket=ticket, password=password, decision="approve")
        assert answer.status_code == 303
        assert not list(state.glob("*password*"))
    finally:
        site.stop()


def test_a_long_registration_is_found_at_once_on_any_store(tmp_path: Path, clock: Clock) -> None:
    limits = Limits(sealed_client_id=0)
    site = Site(tmp_path / "state", clock, client_storage=MemoryStore(), limits=limits)
    try:
        app = App.register(site)
        assert app.redeem(approve(app)).status_code == 200
    finally:
        site.stop()


def test_one_provider_can_serve_again_after_it_was_stopped(site: Site) -> None:
    _, tokens = connect(site)
    service = site.provider.service
    site.stop()

    async def again() -> str:
        await service.state.start()
        connection = await service.grants.check(tokens["access_token"])
        await service.stop()
        return connection.client_name

    assert asyncio.run(again()) == "Test app"
    site.start()


@pytest.mark.parametrize("wrapped", [False, True], ids=["bare", "wrapped"])
def test_a_store_that_cannot_name_every_key_says_so_and_revokes_all_the_same(
    tmp_path: Path, clock: Clock, wrapped: bool
) -> None:
    store = TimeoutWrapper(MemoryStore()) if wrapped else MemoryStore()
    site = Site(tmp_path / "state", clock, client_storage=store)

    async def use() -> str:
        grants = site.provider.service.grants
        with pytest.raises(StoreUnavailable) as refused:
            await grants.connections.all()
        gid = (await site.provider.service.check(tokens["access_token"])).grant_id
        assert await grants.connections.revoke(gid)
        return refused.value.description

    try:
        _, tokens = connect(site)
        said = asyncio.run_coroutine_threadsafe(use(), site.loop).result(10)
        assert said == "This store cannot list what it holds; revoking still works."
        assert site.visitor().call(tokens["access_token"]).status_code == 401
    finally:
        site.stop()
