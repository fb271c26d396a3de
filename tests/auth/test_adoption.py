"""A state file of the reference module is adopted, and its clients stay connected."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastmcp.server.auth import AccessToken
from mcp.server.auth.provider import RefreshToken
from mcp.shared.auth import OAuthClientInformationFull
from pydantic import AnyUrl

from personal_auth import Limits, PersonalAuthProvider
from tests.support.site import CALLBACK, PASSWORD, URL, App, Clock, Site, approve

FILE = "oauth_tokens.json"
CLIENT = "6f1e0e0a-0c1f-4c55-9e7b-0e6a3f0b3a10"
ACCESS, REFRESH = "pat_" + "a1" * 32, "prt_" + "b2" * 32
SECRET = "a secret of the client"

State = dict[str, Any]


def reference_client(client_id: str, **members: Any) -> State:
    """Returns a client as that module's framework writes it, null members and all."""
    client = OAuthClientInformationFull(
        client_id=client_id,
        client_id_issued_at=1_700_000_000,
        client_secret=SECRET,
        token_endpoint_auth_method="client_secret_post",
        redirect_uris=[AnyUrl(CALLBACK)],
        client_name="Claude",
    )
    return {**client.model_dump(mode="json"), **members}


def reference_state(clock: Clock, **client: Any) -> State:
    """Returns what the reference module writes for one connected client."""
    access = AccessToken(token=ACCESS, client_id=CLIENT, scopes=[], expires_at=int(clock()) + 1000)
    refresh = RefreshToken(token=REFRESH, client_id=CLIENT, scopes=[], expires_at=None)
    return {
        "clients": {CLIENT: reference_client(CLIENT, **client)},
        "access_tokens": {ACCESS: access.model_dump(mode="json")},
        "refresh_tokens": {REFRESH: refresh.model_dump(mode="json")},
        "a2r": {ACCESS: REFRESH},
        "r2a": {REFRESH: ACCESS},
    }


def adopted(folder: Path, clock: Clock, state: object, **options: Any) -> Site:
    folder.mkdir()
    (folder / FILE).write_text(json.dumps(state, indent=2))
    return Site(folder, clock, **options)


def rows(site: Site) -> dict[str, dict[str, Any]]:
    document: dict[str, Any] = json.loads((site.state_dir / FILE).read_text())
    found: dict[str, dict[str, Any]] = document["rows"]
    return found


@pytest.mark.parametrize(
    "client", [{}, {"client_secret": None, "token_endpoint_auth_method": "none"}], ids=str
)
def test_its_clients_stay_connected(tmp_path: Path, clock: Clock, client: dict[str, Any]) -> None:
    state = reference_state(clock, **client)
    site = adopted(tmp_path / "state", clock, state)
    try:
        app = App(site, state["clients"][CLIENT])
        alive = site.visitor().call(ACCESS)
        fresh = app.refresh(REFRESH)
        again = site.visitor().get("/authorize", params=app.query())
        site.restart()
        after = site.visitor().call(fresh.json()["access_token"])
        clock.advance(1000)
        expired = site.visitor().call(ACCESS)
        codes = [a.status_code for a in (alive, fresh, again, after, expired)]
        assert codes == [200, 200, 200, 200, 401]
    finally:
        site.stop()


def test_no_secret_of_it_stays_readable_in_any_file(tmp_path: Path, clock: Clock) -> None:
    site = adopted(tmp_path / "state", clock, reference_state(clock))
    try:
        app = App(site, {"client_id": CLIENT, "client_secret": SECRET})
        fresh = app.refresh(REFRESH).json()
        secrets = [ACCESS, REFRESH, SECRET, fresh["access_token"], fresh["refresh_token"]]
        files = [path for path in site.state_dir.rglob("*") if path.is_file()]
        held = [path.read_bytes() for path in files]

        assert {path.name for path in files} == {"lock", FILE}
        assert not [s for s in secrets for raw in held if s.encode() in raw]
        assert (site.state_dir / FILE).stat().st_mode & 0o777 == 0o600
    finally:
        site.stop()


def test_it_is_on_disk_before_the_server_answers_and_happens_once(
    tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / FILE).write_text(json.dumps(reference_state(clock)))
    provider = PersonalAuthProvider(URL, PASSWORD, state_dir=tmp_path, clock=clock)

    provider.get_routes("/mcp")  # before the port is bound
    once = json.loads((tmp_path / FILE).read_text())
    provider._state_dir.release()
    again = Site(tmp_path, clock)
    try:
        assert [len(once["rows"][name]) for name in ("grants", "tokens", "refresh")] == [1, 1, 1]
        assert rows(again)["grants"] == once["rows"]["grants"]
        assert caplog.text.count("[earlier_state_adopted]") == 1
        assert again.visitor().call(ACCESS).status_code == 200
    finally:
        again.stop()


def test_nothing_is_said_to_be_adopted_when_it_cannot_be_written(
    tmp_path: Path,
    clock: Clock,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    class Full(PersonalAuthProvider):
        def _save_state(self, state: State) -> None:
            raise OSError(28, "No space left on device")

    before = json.dumps(reference_state(clock))
    (tmp_path / FILE).write_text(before)

    with pytest.raises(SystemExit):
        Full(URL, PASSWORD, state_dir=tmp_path, clock=clock).get_routes("/mcp")

    assert "No space left on device" in capsys.readouterr().err
    assert "[earlier_state_adopted]" not in caplog.text
    assert (tmp_path / FILE).read_text() == before


def test_an_adopted_client_can_be_revoked(tmp_path: Path, clock: Clock) -> None:
    site = adopted(tmp_path / "state", clock, reference_state(clock))
    try:
        form = {"token": REFRESH, "client_id": CLIENT, "client_secret": SECRET}
        revoked = site.visitor().post("/revoke", data=form)
        app = App(site, {"client_id": CLIENT, "client_secret": SECRET})
        codes = [revoked, site.visitor().call(ACCESS), app.refresh(REFRESH)]
        assert [answer.status_code for answer in codes] == [200, 401, 400]
    finally:
        site.stop()


def test_a_token_keeps_the_secret_of_its_client(tmp_path: Path, clock: Clock) -> None:
    site = adopted(tmp_path / "state", clock, reference_state(clock))
    try:
        wrong = App(site, {"client_id": CLIENT, "client_secret": "another"}).refresh(REFRESH)
        missing = App(site, {"client_id": CLIENT}).refresh(REFRESH)
        assert (wrong.status_code, missing.status_code) == (401, 401)
    finally:
        site.stop()


# Unusual ones


def without_maps(state: State, now: int) -> None:
    del state["a2r"], state["r2a"]


def with_null_maps(state: State, now: int) -> None:
    state["a2r"] = state["r2a"] = None


def with_members_of_a_later_framework(state: State, now: int) -> None:
    state["clients"][CLIENT]["dpop_bound"] = None
    state["access_tokens"][ACCESS]["more"] = {"a": [1]}
    state["refresh_tokens"][REFRESH]["more"] = "x"


def with_members_of_an_earlier_framework(state: State, now: int) -> None:
    state["clients"][CLIENT] = {
        name: state["clients"][CLIENT][name] for name in ("client_secret", "redirect_uris")
    }
    for tokens in (state["access_tokens"], state["refresh_tokens"]):
        for token in tokens.values():
            del token["resource"], token["scopes"]


def with_a_time_of_parts_of_a_second(state: State, now: int) -> None:
    state["access_tokens"][ACCESS]["expires_at"] = now + 0.5


def with_an_access_token_without_an_end(state: State, now: int) -> None:
    state["access_tokens"][ACCESS]["expires_at"] = None


def with_a_refresh_token_that_ends(state: State, now: int) -> None:
    state["refresh_tokens"][REFRESH]["expires_at"] = now + 60


def with_other_names_of_tokens(state: State, now: int) -> None:
    state["access_tokens"]["test_access_token_0"] = state["access_tokens"][ACCESS]


def with_tokens_of_an_unknown_client(state: State, now: int) -> None:
    stray = {"client_id": "nobody", "expires_at": now + 1000}
    state["access_tokens"]["pat_stray"] = state["refresh_tokens"]["prt_stray"] = stray


def with_expired_tokens_beside(state: State, now: int) -> None:
    for end in (0, -1, 1.5, now - 1, now):
        over = {"client_id": CLIENT, "expires_at": end}
        state["access_tokens"][f"pat_{end}"] = state["refresh_tokens"][f"prt_{end}"] = over


def with_a_client_that_has_no_tokens(state: State, now: int) -> None:
    state["clients"]["idle"] = reference_client("idle")


def with_a_hostile_name(state: State, now: int) -> None:
    state["clients"][CLIENT]["client_name"] = "\x1b[2J\u202e" + "N" * 100_000


@pytest.mark.parametrize(
    "alter",
    [
        without_maps,
        with_null_maps,
        with_members_of_a_later_framework,
        with_members_of_an_earlier_framework,
        with_a_time_of_parts_of_a_second,
        with_an_access_token_without_an_end,
        with_a_refresh_token_that_ends,
        with_other_names_of_tokens,
        with_tokens_of_an_unknown_client,
        with_expired_tokens_beside,
        with_a_client_that_has_no_tokens,
        with_a_hostile_name,
    ],
)
def test_an_unusual_one_keeps_its_connection_and_opens_nothing_else(
    tmp_path: Path, clock: Clock, alter: Callable[[State, int], None]
) -> None:
    state = reference_state(clock)
    alter(state, int(clock()))
    site = adopted(tmp_path / "state", clock, state)
    try:
        app = App(site, {"client_id": CLIENT, "client_secret": SECRET})
        others = {*state["access_tokens"], *state["refresh_tokens"]} - {ACCESS, REFRESH}
        live = {"test_access_token_0"} & others
        opened = site.visitor().call(ACCESS)
        opens = {token for token in others if site.visitor().call(token).status_code != 401}
        refreshes = {token for token in others if app.refresh(token).status_code != 400}
        fresh = app.refresh(REFRESH)
        page = site.visitor().get("/authorize", params=app.query())
        stored = rows(site)

        assert [answer.status_code for answer in (opened, fresh, page)] == [200, 200, 200]
        assert (opens, refreshes) == (live, set())
        assert len(stored["grants"]) == 1
        assert len(stored["tokens"]) == 2 + len(live)
        assert len(stored["refresh"]) == 2
        assert len(next(iter(stored["grants"].values()))["value"]["client"]["name"]) <= 100
    finally:
        site.stop()


def test_an_access_token_without_an_end_gets_the_usual_one(tmp_path: Path, clock: Clock) -> None:
    state = reference_state(clock)
    with_an_access_token_without_an_end(state, 0)
    site = adopted(tmp_path / "state", clock, state, access_token_expiry_seconds=500)
    try:
        clock.advance(499)
        before = site.visitor().call(ACCESS).status_code
        clock.advance(1)
        assert (before, site.visitor().call(ACCESS).status_code) == (200, 401)
    finally:
        site.stop()


def test_a_refresh_token_that_ends_ends_then(tmp_path: Path, clock: Clock) -> None:
    state = reference_state(clock)
    with_a_refresh_token_that_ends(state, int(clock()))
    site = adopted(tmp_path / "state", clock, state)
    try:
        clock.advance(60)
        app = App(site, {"client_id": CLIENT, "client_secret": SECRET})
        assert app.refresh(REFRESH).json()["error"] == "invalid_grant"
    finally:
        site.stop()


def test_a_client_whose_tokens_are_over_is_known_and_not_connected(
    tmp_path: Path, clock: Clock
) -> None:
    state = reference_state(clock)
    del state["refresh_tokens"][REFRESH]
    state["access_tokens"][ACCESS]["expires_at"] = int(clock()) - 1
    site = adopted(tmp_path / "state", clock, state)
    try:
        app = App(site, {"client_id": CLIENT, "client_secret": SECRET})
        assert "grants" not in rows(site)
        assert app.redeem(approve(app)).status_code == 200
        assert len(rows(site)["grants"]) == 1
    finally:
        site.stop()


def test_one_without_any_client_is_adopted_and_empty(tmp_path: Path, clock: Clock) -> None:
    empty: State = {member: {} for member in reference_state(clock)}
    site = adopted(tmp_path / "state", clock, empty)
    try:
        assert sorted(rows(site)) == ["owner"]
    finally:
        site.stop()


def test_of_clients_that_nobody_connected_the_newest_are_kept(tmp_path: Path, clock: Clock) -> None:
    state = reference_state(clock)
    state["clients"] |= {f"idle-{n}": reference_client(f"idle-{n}") for n in range(5)}
    site = adopted(tmp_path / "state", clock, state, limits=Limits(stored_clients=2))
    try:
        known = [
            site.visitor().get("/authorize", params=App(site, {"client_id": name}).query())
            for name in (*state["clients"],)
        ]
        assert [page.status_code for page in known] == [200, 400, 400, 400, 200, 200]
    finally:
        site.stop()


def test_a_huge_one_is_adopted_in_bearable_time_and_leaves_a_small_file(
    tmp_path: Path, clock: Clock
) -> None:
    state = reference_state(clock)
    idle = reference_client("idle")
    state["clients"] |= {f"idle-{n}": idle for n in range(30_000)}
    over = {"client_id": CLIENT, "expires_at": 1}
    state["access_tokens"] |= {f"pat_{n}": over for n in range(30_000)}
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / FILE).write_text(json.dumps(state))
    provider = PersonalAuthProvider(URL, PASSWORD, state_dir=tmp_path / "state", clock=clock)

    began = time.process_time()
    provider.service.state.open()
    took = time.process_time() - began
    provider._state_dir.release()

    assert took < 5
    assert (tmp_path / "state" / FILE).stat().st_size < 500_000


def test_the_log_says_how_to_cut_connections_that_no_password_approved(
    tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    adopted(tmp_path / "state", clock, reference_state(clock)).stop()

    assert "password --revoke-all" in caplog.text


def token(**members: Any) -> State:
    return {"clients": {}, "access_tokens": {"pat_x": {"client_id": "a", **members}}}


@pytest.mark.parametrize(
    "state",
    [
        {"clients": {CLIENT: 3}},
        {"clients": []},
        {"clients": None},
        {"clients": {CLIENT: {"client_name": 7}}},
        {"clients": {CLIENT: {"client_secret": 7}}},
        {"clients": {CLIENT: {"redirect_uris": "https://claude.ai"}}},
        {"clients": {}, "access_tokens": ["pat_x"]},
        {"clients": {}, "access_tokens": {"pat_x": {}}},
        {"clients": {}, "refresh_tokens": {"prt_x": "a"}},
        token(expires_at="soon"),
        token(expires_at="1900000000"),
        token(expires_at=[]),
        token(expires_at=float("inf")),
        token(expires_at=float("nan")),
        token(expires_at=10**400),
    ],
    ids=lambda state: str(state)[:60],
)
def test_a_damaged_one_stops_the_start_and_is_left_alone(
    tmp_path: Path, state: object, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "damaged; it was left as it is" in refused(tmp_path, json.dumps(state), capsys)


@pytest.mark.parametrize("member", ["auth_codes", "revoked", "x" * 10_000, "\x1b[2J\n"])
def test_one_that_holds_more_than_that_module_writes_is_left_alone(
    tmp_path: Path, clock: Clock, capsys: pytest.CaptureFixture[str], member: str
) -> None:
    state = json.dumps({**reference_state(clock), member: {}})

    sentence = refused(tmp_path, state, capsys)

    assert "also holds" in sentence
    assert "move the file away" in sentence
    assert sentence.strip().isprintable()
    assert len(sentence) < 400


def refused(folder: Path, state: str, capsys: pytest.CaptureFixture[str]) -> str:
    """Returns the sentence with which a start is refused; the file is the same after it."""
    (folder / FILE).write_text(state)
    with pytest.raises(SystemExit) as stopped:
        PersonalAuthProvider(URL, PASSWORD, state_dir=folder).get_routes("/mcp")
    sentence = capsys.readouterr().err
    assert stopped.value.code == 2
    assert sentence.count("\n") == 1
    assert (folder / FILE).read_text() == state
    return sentence
