"""A state file of the reference module is adopted, and its clients stay connected."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from personal_auth import PersonalAuthProvider
from tests.support.site import CALLBACK, App, Clock, Site

CLIENT = "6f1e0e0a-0c1f-4c55-9e7b-0e6a3f0b3a10"
ACCESS, REFRESH = "pat_" + "a1" * 32, "prt_" + "b2" * 32


def reference_state(clock: Clock, **client: Any) -> dict[str, Any]:
    """Returns what the reference module writes for one connected client."""
    token = {"client_id": CLIENT, "scopes": [], "resource": None}
    return {
        "clients": {
            CLIENT: {
                "client_id": CLIENT,
                "client_name": "Claude",
                "redirect_uris": [CALLBACK],
                "token_endpoint_auth_method": "client_secret_post",
                "client_secret": "a secret of the client",
                "grant_types": ["authorization_code", "refresh_token"],
                **client,
            }
        },
        "access_tokens": {
            ACCESS: {**token, "token": ACCESS, "expires_at": int(clock()) + 1000, "claims": {}}
        },
        "refresh_tokens": {REFRESH: {**token, "token": REFRESH, "expires_at": None}},
        "a2r": {ACCESS: REFRESH},
        "r2a": {REFRESH: ACCESS},
    }


def adopted(folder: Path, clock: Clock, state: object) -> Site:
    folder.mkdir()
    (folder / "oauth_tokens.json").write_text(json.dumps(state))
    return Site(folder, clock)


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


def test_no_token_of_it_stays_readable(tmp_path: Path, clock: Clock) -> None:
    site = adopted(tmp_path / "state", clock, reference_state(clock))
    try:
        stored = (site.state_dir / "oauth_tokens.json").read_text()
        assert not [s for s in (ACCESS, REFRESH, "a secret of the client") if s in stored]
    finally:
        site.stop()


def test_the_log_says_how_to_cut_connections_that_no_password_approved(
    tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    adopted(tmp_path / "state", clock, reference_state(clock)).stop()

    assert "password --revoke-all" in caplog.text


@pytest.mark.parametrize("state", [{"clients": {CLIENT: 3}}, {"clients": []}, {"clients": None}])
def test_a_damaged_one_stops_the_start_and_is_left_alone(
    tmp_path: Path, clock: Clock, state: object, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "oauth_tokens.json"
    file.write_text(json.dumps(state))
    provider = PersonalAuthProvider("https://mcp.example.com", state_dir=tmp_path)

    with pytest.raises(SystemExit) as stopped:
        provider.get_routes("/mcp")

    assert stopped.value.code == 2
    assert "damaged" in capsys.readouterr().err
    assert json.loads(file.read_text()) == state
