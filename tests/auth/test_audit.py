"""What the log says, and that no secret is where it does not belong."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from personal_auth import Limits, PersonalAuthProvider, audit
from personal_auth.audit import Event
from personal_auth.errors import WrongPasskey
from personal_auth.owner import Owner
from personal_auth.trail import Trail
from personal_server.logs import JsonLines
from tests.auth.test_adoption import adopted, reference_state
from tests.support.authenticator import Authenticator, enrol
from tests.support.site import (
    PASSWORD,
    URL,
    App,
    Clock,
    Site,
    Visitor,
    answer_of,
    approve,
    connect,
    ticket,
)

ADDRESS = "198.51.100.7"
TOO_LONG_FOR_AN_ID = {
    "redirect_uris": [f"https://claude.ai/{7 ** (90 * i):x}" for i in range(1, 10)]
}


class Lines(logging.Handler):
    """Keeps every record of every logger, and the events of personal_auth by name."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []
        self.text: list[str] = []
        self.events: list[dict[str, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.name.partition(".")[0] in {"httpx", "httpcore"}:
            return  # the visitors' own
        self.records.append(record)
        self.text.append(logging.Formatter().format(record))
        if record.name == "personal_auth":
            self.events.append(getattr(record, "event", {}))

    def of(self, event: Event) -> list[dict[str, str]]:
        return [each for each in self.events if each.get("event") == event]


@pytest.fixture
def log() -> Iterator[Lines]:
    lines, root = Lines(), logging.getLogger()
    level, ours = root.level, logging.getLogger("personal_auth")
    root.addHandler(lines)
    root.setLevel(logging.DEBUG)
    ours.setLevel(logging.DEBUG)
    yield lines
    root.removeHandler(lines)
    root.setLevel(level)


@pytest.fixture
def site(site: Site) -> Site:
    site.restart(trusted_proxies=["127.0.0.1"], limits=Limits(code_seconds=1))
    return site


def everything(site: Site, owner: Visitor, clock: Clock) -> dict[str, Any]:
    """Lets every event happen that a server in use can have; returns what came of it."""
    app = App.register(site, token_endpoint_auth_method="client_secret_post")
    page = owner.get("/authorize", params=app.query())
    owner.submit(ticket=ticket(page), password="not the password", decision="approve")
    granted = owner.submit(ticket=ticket(page), password=PASSWORD, decision="approve")
    code = answer_of(granted)["code"]
    tokens = app.redeem(code).json()
    fresh = app.refresh(tokens["refresh_token"]).json()
    app.refresh(tokens["refresh_token"])  # a retry
    clock.advance(121)
    app.refresh(tokens["refresh_token"])  # a replay
    site.visitor().call(fresh["access_token"])  # refused: revoked

    other, second = connect(site, client_name="Second")
    site.visitor().post("/revoke", data={"client_id": other.id, "token": second["access_token"]})
    third = App.register(site)
    late = approve(third, owner)
    third.redeem(late)
    clock.advance(11)
    third.redeem(late)  # a replay of the code
    denied = owner.get("/authorize", params=App.register(site).query())
    owner.submit(ticket=ticket(denied), decision="deny")
    lost = approve(App.register(site, client_name="Forgetful"), owner)
    return {
        "client secret": app.registration["client_secret"],
        "code": code,
        "replayed code": late,
        "lost code": lost,
        "access token": tokens["access_token"],
        "fresh access token": fresh["access_token"],
        "refresh token": tokens["refresh_token"],
        "fresh refresh token": fresh["refresh_token"],
        "verifier": app.verifier,
        "ticket": ticket(page),
    }


def wait_for(log: Lines, event: Event) -> None:
    deadline = time.monotonic() + 10
    while not log.of(event):
        assert time.monotonic() < deadline, f"no {event} in {log.events}"
        time.sleep(0.02)


def test_every_step_of_the_gate_is_one_line_with_client_grant_and_address(
    site: Site, clock: Clock, log: Lines
) -> None:
    owner = site.visitor(**{"x-forwarded-for": ADDRESS})

    everything(site, owner, clock)
    wait_for(log, Event.NOT_REDEEMED)

    (replayed,) = log.of(Event.REPLAYED_REFRESH)
    grant = replayed["grant"]
    steps = [each for each in log.events if each.get("grant") == grant]
    assert [step["event"] for step in steps] == [
        "approval_asked",
        "connection_approved",
        "tokens_issued",
        "tokens_refreshed",
        "refresh_retried",
        "refresh_token_replayed_connection_revoked",
    ]
    assert {step["client"] for step in steps} == {"Test_app"}
    assert {step["address"] for step in steps[:2]} == {ADDRESS}
    assert {step["address"] for step in steps[2:]} == {"127.0.0.1"}
    assert [e["address"] for e in log.of(Event.WRONG_PASSWORD)] == [ADDRESS]
    assert log.of(Event.SIGNED_IN)[0]["address"] == ADDRESS
    assert [e["client"] for e in log.of(Event.NOT_REDEEMED)] == ["Forgetful"]
    assert [e["by"] for e in log.of(Event.DENIED)] == ["owner"]
    assert len(log.of(Event.REVOKED)) == len(log.of(Event.REPLAYED_CODE)) == 1
    assert len(log.of(Event.REGISTERED)) == 5
    assert {(e["why"], e["at"]) for e in log.of(Event.REFUSED)} == {
        ("invalid_grant", "/token"),
        ("invalid_token", "/mcp"),
    }


def test_every_event_that_can_be_logged_is_logged_by_something(
    site: Site, clock: Clock, log: Lines, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    everything(site, site.visitor(), clock)
    wait_for(log, Event.NOT_REDEEMED)
    connect(site)
    site.restart(base_url="https://elsewhere.example.com")
    with monkeypatch.context() as broken:
        broken.setattr(site.provider._state_dir, "write", _fails)
        site.visitor(host="elsewhere.example.com").post("/register", json=TOO_LONG_FOR_AN_ID)
        wait_for(log, Event.STORE_FAILED)
    wait_for(log, Event.STORE_BACK)
    site.restart(trusted_proxies=[])
    for _ in range(3):
        site.visitor(**{"x-forwarded-for": ADDRESS}).get("/mcp")
    assert len(log.of(Event.NOT_BELIEVED)) == 1
    Site(tmp_path / "new", clock, password=None).stop()
    adopted(tmp_path / "old", clock, reference_state(clock)).stop()
    asyncio.run(_commands(tmp_path / "new"))
    _break_and_mend_a_trail(tmp_path / "a folder")

    assert {each.get("event") for each in log.events} == set(Event)


def _fails(raw: bytes) -> None:
    raise OSError("no space")


async def _commands(state_dir: Path) -> None:
    provider = PersonalAuthProvider(URL, state_dir=state_dir)
    async with provider.service.for_a_command() as service:
        await service.owner.change_password("another password")
        gid, _ = await service.grants.issue_token("backup", read_only=True, seconds=60)
        await service.connections.narrow(gid, False)
        await service.connections.narrow(gid, True)
        await _passkeys(service.owner)


async def _passkeys(owner: Owner) -> None:
    device = Authenticator(URL, count=2)
    passkey = await enrol(owner, device)
    device.count = 1
    offer = owner.passkeys.sign_in_offer("a browser")
    answer = json.dumps(device.get(offer.options))
    with pytest.raises(WrongPasskey):
        await owner.sign_in_by_passkey(answer, offer.challenge, "a browser", ADDRESS, None)
    await owner.switch_password_off()
    await owner.switch_password_on()
    await owner.keyring.remove(passkey.id)


def _break_and_mend_a_trail(path: Path) -> None:
    path.mkdir()
    trail = Trail(path)
    trail.open()
    trail.flush()
    path.rmdir()
    trail.flush()
    trail.close()


@dataclass
class Seen:
    """Everything that left the server, by the kind of place."""

    answers: list[httpx.Response] = field(default_factory=list)

    def places(self) -> dict[str, list[str]]:
        return {
            "a page": [a.text for a in self.answers if "html" in a.headers.get("content-type", "")],
            "a JSON answer": [
                a.text for a in self.answers if "json" in a.headers.get("content-type", "")
            ],
            "a Location": [a.headers.get("location", "") for a in self.answers],
            "a cookie": [" ".join(a.headers.get_list("set-cookie")) for a in self.answers],
            "another header": [
                f"{name}: {value}"
                for a in self.answers
                for name, value in a.headers.items()
                if name not in {"location", "set-cookie"}
            ],
        }


MAY_BE_IN: dict[str, set[str]] = {
    "client secret": {"a JSON answer"},  # of the registration
    "code": {"a Location"},
    "replayed code": {"a Location"},
    "lost code": {"a Location"},
    "access token": {"a JSON answer"},
    "fresh access token": {"a JSON answer"},
    "refresh token": {"a JSON answer"},
    "fresh refresh token": {"a JSON answer"},
    "ticket": {"a page"},
    "session cookie": {"a cookie"},
    "device cookie": {"a cookie"},
    "browser cookie": {"a cookie"},
    "sealing key": {"a file"},
}


def test_no_secret_is_anywhere_but_where_it_belongs(
    site: Site,
    clock: Clock,
    log: Lines,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    seen, request = Seen(), Visitor.request

    def watched(self: Visitor, *arguments: Any, **options: Any) -> httpx.Response:
        seen.answers.append(request(self, *arguments, **options))
        return seen.answers[-1]

    monkeypatch.setattr(Visitor, "request", watched)
    owner = site.visitor()
    secrets = everything(site, owner, clock)
    for path in ("/mcp", "/authorize", "/token", "/register", "/revoke", "/nowhere"):
        for place in ({"x-password": PASSWORD}, {"authorization": f"Bearer {PASSWORD}"}):
            owner.get(f"{path}?password={PASSWORD}&code={secrets['code']}", headers=place)
            owner.post(
                path, data={"password": PASSWORD, **secrets}, headers={**place, "origin": URL}
            )

    stored = {path: path.read_text() for path in site.state_dir.iterdir() if path.is_file()}
    state = json.loads(stored[site.state_dir / "oauth_tokens.json"])["rows"]
    for name in ("session", "device", "browser"):
        secrets[f"{name} cookie"] = owner.cookies[f"__Host-pa_{name}"]
    secrets |= {"password": PASSWORD, "sealing key": state["owner"]["key"]["value"]["key"]}
    assert all(len(secret) >= 20 for secret in secrets.values())
    printed = capfd.readouterr()
    places = {
        **seen.places(),
        "the log": log.text,
        "the terminal": [printed.out, printed.err],
        "a file": list(stored.values()),
        "a repr": _reprs(),
    }

    found = {
        (name, place)
        for name, secret in secrets.items()
        for place, texts in places.items()
        if any(secret in text for text in texts)
    }

    assert {place for _, place in found} >= {"a page", "a JSON answer", "a Location", "a cookie"}
    assert found <= {(name, place) for name, allowed in MAY_BE_IN.items() for place in allowed}
    assert len(log.text) > 30
    assert len(places["a repr"]) > 30


def _reprs() -> list[str]:
    """Returns how every object of ours that is alive shows itself."""
    ours = [
        each for each in gc.get_objects() if str(type(each).__module__).startswith("personal_auth")
    ]
    return [repr(each) for each in ours]


def test_what_strangers_cause_is_logged_a_few_times_a_minute_and_counted(
    site: Site, log: Lines
) -> None:
    stranger = site.visitor()

    for _ in range(50):
        stranger.call("pat_made_up")
    held_back = len(log.of(Event.REFUSED))
    audit.budgets[Event.REFUSED].since -= audit.MINUTE
    stranger.call("pat_made_up")

    assert held_back == audit.LINES_A_MINUTE
    assert log.of(Event.REFUSED)[-1]["not_logged_before"] == str(50 - audit.LINES_A_MINUTE)
    stranger.call("pat_made_up")
    assert "not_logged_before" not in log.of(Event.REFUSED)[-1]


def test_the_same_is_there_as_fields_for_a_json_log(site: Site, log: Lines) -> None:
    App.register(site, client_name="Some app")

    (record,) = [each for each in log.records if getattr(each, "event", None)]
    line = json.loads(JsonLines().format(record))

    assert line["message"] == "[client_registered] client=Some_app address=127.0.0.1"
    assert {name: line[name] for name in ("event", "client", "address", "level")} == {
        "event": "client_registered",
        "client": "Some_app",
        "address": "127.0.0.1",
        "level": "info",
    }


def test_no_value_can_forge_or_flood_a_line(site: Site, log: Lines) -> None:
    name = "x [owner_signed_in] address=1.2.3.4 " + "y" * 90

    App.register(site, client_name=name)
    audit.record(Event.APPROVED, client="two\nlines\x1b[31m " + "z" * 500)

    text = log.text[-2:]
    assert "\n" not in "".join(text)
    assert "\x1b" not in "".join(text)
    assert log.of(Event.REGISTERED)[0]["client"].startswith("x_[owner_signed_in]_address=1.2.3.4_")
    assert all(len(line) < 300 for line in text)


def test_a_listener_hears_each_event_until_it_is_ended() -> None:
    heard: list[tuple[Event, dict[str, str]]] = []
    end = audit.listen(lambda event, fields: heard.append((event, dict(fields))))

    audit.record(Event.REVOKED, grant="one two")
    end()
    audit.record(Event.REVOKED, grant="three")

    assert heard == [(Event.REVOKED, {"grant": "one_two"})]


def test_a_listener_that_fails_stops_neither_the_event_nor_the_others(
    caplog: pytest.LogCaptureFixture,
) -> None:
    heard: list[str] = []
    ends = [
        audit.listen(lambda event, fields: heard.append(fields["no such field"])),
        audit.listen(lambda event, fields: heard.append(fields["grant"])),
    ]

    audit.record(Event.REVOKED, grant="one")
    for end in ends:
        end()

    assert heard == ["one"]
    assert "KeyError" in caplog.text
