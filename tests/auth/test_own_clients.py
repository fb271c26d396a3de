"""Clients that the owner names in the settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from personal_auth import PersonalAuthProvider
from tests.support.site import CALLBACK, URL, App, Site, approve

SECRET = "a secret of the app's own"
PUBLIC = {"client_id": "my-app", "redirect_uris": [CALLBACK, "http://127.0.0.1/callback"]}
CONFIDENTIAL = {"client_id": "my.other~app", "client_secret": SECRET, "redirect_uris": [CALLBACK]}


def test_a_public_client_of_the_settings_connects_without_registering(site: Site) -> None:
    site.restart(clients=[PUBLIC, CONFIDENTIAL])
    app = App(site, {"client_id": "my-app"}, "http://127.0.0.1:5555/callback")

    tokens = app.redeem(approve(app)).json()

    assert site.visitor().call(tokens["access_token"]).status_code == 200
    site.restart()
    assert app.refresh(tokens["refresh_token"]).status_code == 200


def test_a_confidential_client_of_the_settings_proves_itself(site: Site) -> None:
    site.restart(clients=[PUBLIC, CONFIDENTIAL])
    app = App(site, {"client_id": "my.other~app", "client_secret": SECRET})
    code = approve(app)

    wrong, missing = app.redeem(code, client_secret="wrong"), app.redeem(code, client_secret=None)
    right = app.redeem(code)

    assert [a.status_code for a in (wrong, missing, right)] == [401, 401, 200]


def test_a_client_that_left_the_settings_is_unknown_at_once(site: Site) -> None:
    site.restart(clients=[PUBLIC])
    app = App(site, {"client_id": "my-app"})
    tokens = app.redeem(approve(app)).json()

    site.restart(clients=[])

    assert app.refresh(tokens["refresh_token"]).status_code == 401
    assert site.visitor().call(tokens["access_token"]).status_code == 401
    assert site.visitor().get("/authorize", params=app.query()).status_code == 400
    site.restart(clients=[PUBLIC])
    assert site.visitor().call(tokens["access_token"]).status_code == 200


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"client_id": None}, "client_id"),
        ({"client_id": ""}, "client_id"),
        ({"client_id": "c1.sealed"}, "client_id"),
        ({"client_id": "c1-stored"}, "client_id"),
        ({"client_id": "https://app.example/client.json"}, "client_id"),
        ({"client_id": "x" * 256}, "client_id"),
        ({"client_secret": "short"}, "at least 16"),
        ({"client_secret": 1234567890123456}, "at least 16"),
        ({"client_secret": ""}, "at least 16"),
        ({"redirect_uris": []}, "redirect_uris"),
        ({"redirect_uris": CALLBACK}, "redirect_uris"),
        ({"redirect_uris": ["https://elsewhere.example/cb"]}, "allowed redirect domains"),
        ({"redirect_uris": [CALLBACK, "javascript:alert(1)"]}, "redirect URI"),
        ({"redirect_uris": [7]}, "redirect URI"),
        ({"client_name": 7}, "name"),
        ({"redirect_uri": CALLBACK}, "unknown member: redirect_uri"),
    ],
    ids=str,
)
def test_an_entry_that_cannot_be_used_is_refused_with_a_sentence(
    tmp_path: Path, change: dict[str, Any], sentence: str
) -> None:
    entry = {**PUBLIC, **change}

    with pytest.raises(ValueError, match=sentence) as refused:
        PersonalAuthProvider(URL, state_dir=tmp_path / "state", clients=[entry])

    assert str(refused.value).endswith(".")
    assert str(change.get("client_secret") or "none of it") not in str(refused.value)


def test_two_entries_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="same client_id"):
        PersonalAuthProvider(URL, state_dir=tmp_path / "state", clients=[PUBLIC, PUBLIC])
