"""Passkeys: enrolled, used, copied, removed, and in place of the password."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cbor2
import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import strategies as st
from key_value.aio.stores.memory import MemoryStore

from personal_auth import Limits, records
from personal_auth.errors import InvalidRequest, StoreUnavailable, WrongPasskey
from personal_auth.keyring import Passkey
from personal_auth.owner import Owner
from personal_auth.store import Put, SnapshotStore
from tests.support.asgi import AppServer
from tests.support.authenticator import (
    PRESENT,
    VERIFIED,
    Authenticator,
    enrol,
    offered,
    to_bytes,
    to_text,
)
from tests.support.hostile import broken, changed, fuzz, json_values, texts
from tests.support.site import PASSWORD, URL, App, Visitor, answer_of, approve
from tests.support.site import ticket as ticket_of

ELSEWHERE = "https://mcp.example.org"
NEVER_ENROLLED = "not known here"


class House:
    """A server, its owner's device with an enrolled passkey, and an app that wants to connect."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.folder, self._options = folder, options
        self.server = AppServer(folder / "state", **options)
        self.app = App.register(self.server)
        self.device = Authenticator(URL)

    @property
    def owner(self) -> Owner:
        return self.server.provider.service.owner

    def run(self, call: Any) -> Any:
        return self.server.run(call)

    def enrol(self, device: Authenticator | None = None, name: str = "A phone") -> Passkey:
        passkey: Passkey = self.run(enrol(self.owner, device or self.device, name))
        return passkey

    def restart(self, **options: Any) -> None:
        clock = self.server.clock
        self.server.stop()
        self._options = {**self._options, "clock": clock, **options}
        self.server = AppServer(self.folder / "state", **self._options)
        self.server.clock = clock

    def page(self, visitor: Visitor) -> httpx.Response:
        return visitor.get("/authorize", params=self.app.query())

    def form(self, visitor: Visitor, device: Authenticator | None = None) -> dict[str, str]:
        """Opens the page and lets a device answer; returns what the script would send."""
        page = self.page(visitor)
        options, challenge = offered(page.text)
        answer = json.dumps((device or self.device).get(options))
        ticket = ticket_of(page)
        return {
            "ticket": ticket,
            "challenge": challenge,
            "assertion": answer,
            "decision": "approve",
        }

    def approve(self, visitor: Visitor, device: Authenticator | None = None) -> httpx.Response:
        return visitor.submit(**self.form(visitor, device))

    def stored(self) -> dict[str, Any]:
        document = json.loads((self.folder / "state" / "oauth_tokens.json").read_text())
        return dict(document["rows"])


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path)
    yield house
    house.server.stop()


@pytest.fixture
def owner(house: House) -> Visitor:
    return house.server.visitor()


@pytest.fixture
def stranger(house: House) -> Visitor:
    return house.server.visitor()


def alert(page: httpx.Response) -> str:
    found = re.search(r'<p class="error" role="alert" id="error">(.*?)</p>', page.text, re.DOTALL)
    assert found, page.text
    return re.sub("<[^>]+>", "", found[1])


def has_password_field(page: httpx.Response) -> bool:
    return 'type="password"' in page.text


def events(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.name == "personal_auth"]


# Signing in


@pytest.mark.parametrize("step", [0, 1], ids=["a synced passkey", "a counting one"])
def test_a_passkey_approves_and_leaves_the_owner_signed_in(
    house: House, owner: Visitor, step: int
) -> None:
    house.device.step = step
    house.enrol()

    first, second = house.approve(owner), house.page(owner)
    other = house.server.visitor()
    third = house.approve(other)

    assert (first.status_code, third.status_code) == (303, 303)
    assert house.app.redeem(answer_of(first)["code"]).status_code == 200
    assert not has_password_field(second)
    assert "data-passkey" not in second.text
    assert {"__Host-pa_session", "__Host-pa_device"} < owner.cookies.keys()


def test_the_password_still_approves_beside_a_passkey(house: House, owner: Visitor) -> None:
    house.enrol()

    page = house.page(owner)

    assert has_password_field(page)
    assert approve(house.app, owner)


def test_a_sign_in_is_told_and_remembered_with_its_count(
    house: House, owner: Visitor, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    house.device.step = 3
    passkey = house.enrol()
    house.server.clock.advance(60)

    house.approve(owner)

    (listed,) = house.run(house.owner.keyring.listed())
    assert (listed.count, listed.last_used) == (3, house.server.clock())
    assert passkey.last_used is None
    said = [line for line in events(caplog) if "owner_signed_in" in line]
    assert said == [f"[owner_signed_in] address=127.0.0.1 by=passkey passkey={passkey.id}"]


def spoilt(answer: dict[str, Any], **members: str) -> dict[str, Any]:
    return {**answer, "response": {**answer["response"], **members}}


FAULTS: dict[str, Callable[[Authenticator], None]] = {
    "another origin": lambda d: setattr(d, "origin", "https://evil.example"),
    "a name that begins as ours": lambda d: setattr(d, "origin", URL + ".evil.example"),
    "plain http": lambda d: setattr(d, "origin", URL.replace("https", "http")),
    "another host's passkey": lambda d: setattr(d, "rp_id", "evil.example"),
    "another device's key": lambda d: setattr(d, "key", ec.generate_private_key(ec.SECP256R1())),
    "nobody there": lambda d: setattr(d, "flags", VERIFIED),
    "another owner": lambda d: setattr(d, "user", to_text(b"someone else")),
    "a passkey of nobody": lambda d: setattr(d, "credential", b"made up"),
    "another challenge": lambda d: d.client_data.update(challenge=to_text(b"x" * 32)),
    "an enrolment": lambda d: d.client_data.update(type="webauthn.create"),
    "a page within a foreign page": lambda d: d.client_data.update(crossOrigin=True),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_an_answer_that_is_not_the_owners_passkeys_approves_nothing(
    house: House, stranger: Visitor, fault: str
) -> None:
    house.enrol()
    before = house.stored()
    FAULTS[fault](house.device)

    refused = house.approve(stranger)

    assert refused.status_code == 403
    assert "Nothing is connected yet." in alert(refused)
    assert "set-cookie" not in refused.headers or "session" not in refused.headers["set-cookie"]
    assert house.stored() == before


def test_a_device_that_did_not_ask_who_uses_it_is_told_what_to_turn_on(
    house: House, owner: Visitor
) -> None:
    house.enrol()
    house.device.flags = PRESENT

    refused = house.approve(owner)

    assert refused.status_code == 403
    assert "did not check that it is you: turn on its screen lock" in alert(refused)


def test_a_refused_passkey_can_be_tried_again_at_once_on_the_page_that_says_so(
    house: House, owner: Visitor
) -> None:
    house.enrol()
    house.device.flags = PRESENT
    refused = house.approve(owner)
    house.device.flags |= VERIFIED

    options, challenge = offered(refused.text)
    form = {"ticket": ticket_of(refused), "challenge": challenge, "decision": "approve"}
    again = owner.submit(**form, assertion=json.dumps(house.device.get(options)))

    assert again.status_code == 303


def test_refused_passkeys_hold_up_neither_password_nor_passkey(
    house: House, stranger: Visitor, owner: Visitor
) -> None:
    house.enrol()
    impostor = Authenticator(URL, rp_id="mcp.example.com")

    refused = [house.approve(stranger, impostor).status_code for _ in range(30)]

    assert refused == [403] * 30
    assert approve(house.app, stranger)
    assert house.approve(owner).status_code == 303


def test_refused_passkeys_are_logged_within_bounds_and_without_what_was_sent(
    house: House, stranger: Visitor, caplog: pytest.LogCaptureFixture
) -> None:
    house.enrol()
    impostor = Authenticator(URL, rp_id="mcp.example.com")
    forms = [house.form(stranger, impostor) for _ in range(25)]
    caplog.clear()

    for form in forms:
        stranger.submit(**form)

    lines = [line for line in events(caplog) if "wrong_passkey" in line]
    assert 0 < len(lines) <= 20
    assert NEVER_ENROLLED in lines[0]
    everything = "\n".join(events(caplog))
    for form in forms:
        assert form["challenge"] not in everything
        assert json.loads(form["assertion"])["id"] not in everything


# A challenge is used once, here and now


@pytest.mark.parametrize("step", [0, 1], ids=["a synced passkey", "a counting one"])
def test_a_replayed_answer_is_refused(
    house: House, owner: Visitor, step: int, caplog: pytest.LogCaptureFixture
) -> None:
    house.device.step = step
    house.enrol()
    thief = house.server.visitor()
    form = house.form(owner)
    thief.cookies = dict(owner.cookies)
    first = owner.submit(**form)

    replayed = thief.submit(**form)

    assert (first.status_code, replayed.status_code) == (303, 403)
    assert "was used already" in alert(replayed)
    assert not [line for line in events(caplog) if "count_went_back" in line]


def test_one_answer_sent_many_times_at_once_signs_in_once(house: House, owner: Visitor) -> None:
    house.enrol()
    options, challenge, bound_to = _offer(house)
    answer = json.dumps(house.device.get(options))

    async def crowd() -> list[Any]:
        sign_in = house.owner.sign_in_by_passkey
        many = (sign_in(answer, challenge, bound_to, "203.0.113.9", None) for _ in range(10))
        return await asyncio.gather(*many, return_exceptions=True)

    outcomes = house.run(crowd())

    assert sum(isinstance(each, str) for each in outcomes) == 1
    assert sum(isinstance(each, WrongPasskey) for each in outcomes) == 9


def _offer(house: House) -> tuple[str, str, str]:
    offer = house.owner.passkeys.sign_in_offer("a browser")
    return offer.options, offer.challenge, "a browser"


def test_an_answer_given_in_one_browser_is_worth_nothing_in_another(
    house: House, owner: Visitor, stranger: Visitor
) -> None:
    house.enrol()
    form, page = house.form(owner), house.page(stranger)

    refused = stranger.submit(**{**form, "ticket": ticket_of(page)})

    assert refused.status_code == 403
    assert "another page" in alert(refused)


def test_an_answer_at_the_owners_page_of_one_browser_signs_nobody_in_at_another(
    house: House, owner: Visitor, stranger: Visitor
) -> None:
    house.enrol()
    options, challenge = offered(owner.get("/owner").text)
    stranger.get("/owner")
    form = {"do": "sign-in", "challenge": challenge}
    form["assertion"] = json.dumps(house.device.get(options))

    answers = [v.post("/owner", data=form, headers={"origin": URL}) for v in (stranger, owner)]

    assert [answer.status_code for answer in answers] == [403, 303]
    assert "session" not in str(stranger.cookies)


def test_an_answer_for_one_app_does_not_approve_another(house: House, owner: Visitor) -> None:
    house.enrol()
    form = house.form(owner)
    other = App.register(house.server, client_name="Another app")
    page = owner.get("/authorize", params=other.query())

    refused = owner.submit(**{**form, "ticket": ticket_of(page)})

    assert refused.status_code == 403
    assert "another page" in alert(refused)


def test_a_challenge_ends_with_its_page(house: House) -> None:
    house.enrol()
    options, challenge, bound_to = _offer(house)
    answer = json.dumps(house.device.get(options))
    house.server.clock.advance(10 * 60)

    with pytest.raises(WrongPasskey, match=r"open for too long"):
        house.run(house.owner.passkeys.check(answer, challenge, bound_to))


def test_a_challenge_to_enrol_signs_nobody_in(house: House) -> None:
    house.enrol()
    offer = house.run(house.owner.passkeys.enrol_offer("a session"))
    answer = json.dumps(house.device.get(offer.options))

    with pytest.raises(WrongPasskey, match=r"altered on its way"):
        house.run(house.owner.passkeys.check(answer, offer.challenge, "a session"))


def test_a_challenge_of_ones_own_making_is_refused(house: House) -> None:
    house.enrol()
    options, challenge, bound_to = _offer(house)
    answer = json.dumps(house.device.get(options))

    for made_up in ["", ".", "e30.e30", challenge[:-1], "x" + challenge, challenge + "."]:
        with pytest.raises(WrongPasskey, match=r"altered on its way"):
            house.run(house.owner.passkeys.check(answer, made_up, bound_to))


def test_asking_for_the_page_writes_nothing_and_gives_every_page_its_own_challenge(
    house: House, stranger: Visitor
) -> None:
    house.enrol()
    before = house.stored()

    pages = [offered(house.page(stranger).text) for _ in range(5)]

    assert house.stored() == before
    assert len({challenge for _, challenge in pages}) == 5
    assert len({json.loads(options)["challenge"] for options, _ in pages}) == 5
    assert json.loads(pages[0][0]).keys() == {"challenge", "rpId", "userVerification"}


def test_the_memory_of_used_challenges_passes_with_them(house: House, owner: Visitor) -> None:
    house.enrol()
    house.approve(owner)
    used = house.stored()["challenges"]

    house.server.clock.advance(20 * 60)
    house.run(house.owner.keyring.rename(house.run(house.owner.keyring.listed())[0].id, "New"))

    assert len(used) == 2  # the enrolment's and the sign-in's
    assert all(re.fullmatch("[0-9a-f]{64}", key) for key in used)
    assert not house.stored().get("challenges")


@pytest.fixture
def any_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    """A server on a store that can neither list nor write only what is absent."""
    monkeypatch.setattr(records, "SETTLE_SECONDS", 0.05)
    house = House(tmp_path, client_storage=MemoryStore())
    yield house
    house.server.stop()


def test_on_any_store_a_passkey_is_enrolled_used_once_for_each_answer_and_removed(
    any_store: House,
) -> None:
    passkey, owner = any_store.enrol(), any_store.server.visitor()
    form = any_store.form(owner)
    thief = any_store.server.visitor()
    thief.cookies = dict(owner.cookies)

    answers = [visitor.submit(**form).status_code for visitor in (owner, thief)]
    removed = any_store.run(any_store.owner.keyring.remove(passkey.id))

    assert answers == [303, 403]
    assert removed
    assert has_password_field(any_store.page(owner))


@pytest.mark.parametrize("kind", ["in one file", "any store"])
def test_of_many_at_once_one_claims_what_nobody_has(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "SETTLE_SECONDS", 0.05)
    written: list[bytes] = []

    async def use() -> tuple[list[bool], bool]:
        store = SnapshotStore(written.append) if kind == "in one file" else MemoryStore()
        claimant = records.Records(store)
        claims = [claimant.claim(Put("claims", "k", {}, 60)) for _ in range(20)]
        return await asyncio.gather(*claims), await claimant.claim(Put("claims", "k", {}, 60))

    claimed, later = asyncio.run(use())

    assert (claimed.count(True), later) == (1, False)
    assert all(b"claims" in each for each in written)
    assert len(written) == (kind == "in one file")


# Copies


@pytest.mark.parametrize("back", [0, 1, 5])
def test_a_copied_passkey_is_refused_when_its_count_does_not_grow(
    house: House, owner: Visitor, caplog: pytest.LogCaptureFixture, back: int
) -> None:
    house.device.count, house.device.step = 4, 1
    passkey = house.enrol(name="My key")
    assert house.approve(owner).status_code == 303
    house.device.count, house.device.step = 5 - back, 0

    refused = house.approve(house.server.visitor())

    assert refused.status_code == 403
    assert "“My key” has been used elsewhere" in alert(refused)
    assert "remove it and make a new one" in alert(refused)
    said = [line for line in events(caplog) if "count_went_back" in line]
    assert said == [
        f"[passkey_refused_its_count_went_back] passkey={passkey.id} name=My_key address=127.0.0.1"
    ]
    assert house.run(house.owner.keyring.listed())[0].count == 5


def test_of_two_that_answer_at_once_with_one_count_one_is_a_copy(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.device.count = 4
    house.enrol()
    house.device.count = 5
    keyring, written, may = house.owner.keyring, asyncio.Event(), asyncio.Event()
    used = keyring.used

    async def later(passkey: Passkey, count: int) -> None:
        written.set()
        await may.wait()
        await used(passkey, count)

    async def use() -> str:
        monkeypatch.setattr(keyring, "used", later)
        first, second = (asyncio.create_task(_sign_in(house)) for _ in range(2))
        await written.wait()  # one is past every check, and the store does not know it yet
        done, _ = await asyncio.wait({first, second}, return_when=asyncio.FIRST_COMPLETED)
        may.set()
        await asyncio.gather(first, second, return_exceptions=True)
        return str(done.pop().exception())

    assert "has been used elsewhere" in house.run(use())


async def _sign_in(house: House) -> str:
    options, challenge, bound_to = _offer(house)
    answer = json.dumps(house.device.get(options))
    return await house.owner.sign_in_by_passkey(answer, challenge, bound_to, "203.0.113.9", None)


def test_nobody_without_the_key_can_have_a_passkey_called_a_copy(
    house: House, stranger: Visitor, caplog: pytest.LogCaptureFixture
) -> None:
    house.device.count = 4
    house.enrol()
    house.device.key = ec.generate_private_key(ec.SECP256R1())
    house.device.count = 1

    house.approve(stranger)

    assert not [line for line in events(caplog) if "count_went_back" in line]


# Enrolment


def test_a_passkey_is_kept_with_its_name_and_where_it_came_from(house: House) -> None:
    passkey = house.enrol(name="  My\nphone ")

    assert house.run(house.owner.keyring.listed()) == [passkey]
    assert (passkey.name, passkey.address, passkey.rp_id) == (
        "My phone",
        "203.0.113.9",
        "mcp.example.com",
    )
    assert (passkey.created, passkey.works, passkey.synced) == (house.server.clock(), True, False)
    assert re.fullmatch(r"[0-9a-f]{16}", passkey.id)
    assert passkey.credential not in repr(passkey)


def test_enrolment_asks_for_what_signing_in_without_a_name_needs(house: House) -> None:
    known = house.enrol()

    offer = house.run(house.owner.passkeys.enrol_offer("a session"))

    options = json.loads(offer.options)
    assert options["rp"]["id"] == "mcp.example.com"
    assert options["authenticatorSelection"] == {
        "residentKey": "required",
        "requireResidentKey": True,
        "userVerification": "required",
    }
    assert options["excludeCredentials"] == [{"type": "public-key", "id": known.credential}]
    assert options["attestation"] == "none"
    assert offer.challenge not in repr(offer)


def test_two_servers_on_one_host_do_not_overwrite_each_others_passkeys(
    house: House, tmp_path: Path
) -> None:
    other = House(tmp_path / "other")
    handles = [
        json.loads(house.run(each.owner.passkeys.enrol_offer("x")).options)["user"]["id"]
        if each is house
        else json.loads(other.run(other.owner.passkeys.enrol_offer("x")).options)["user"]["id"]
        for each in (house, other)
    ]
    other.server.stop()

    assert handles[0] != handles[1]


ENROLMENT_FAULTS = {
    name: FAULTS[name]
    for name in ("another origin", "another host's passkey", "nobody there", "another challenge")
} | {"a sign-in": lambda d: d.client_data.update(type="webauthn.get")}


@pytest.mark.parametrize("fault", ENROLMENT_FAULTS)
def test_a_passkey_made_elsewhere_is_not_enrolled(house: House, fault: str) -> None:
    before = house.stored()
    ENROLMENT_FAULTS[fault](house.device)

    with pytest.raises(WrongPasskey):
        house.enrol()

    assert house.stored() == before


def test_a_device_that_cannot_tell_who_uses_it_is_not_enrolled(house: House) -> None:
    house.device.flags = PRESENT

    with pytest.raises(WrongPasskey, match=r"screen lock"):
        house.enrol()


def test_a_page_enrols_one_passkey_for_the_session_that_opened_it(house: House) -> None:
    passkeys = house.owner.passkeys
    offer = house.run(passkeys.enrol_offer("a session"))
    answers = [json.dumps(Authenticator(URL).create(offer.options)) for _ in range(3)]

    def enrol_for(answer: str, session: str) -> Any:
        return house.run(passkeys.enrol(answer, offer.challenge, session, "x", "203.0.113.9"))

    with pytest.raises(WrongPasskey, match=r"another page"):
        enrol_for(answers[0], "another session")
    enrol_for(answers[1], "a session")
    with pytest.raises(WrongPasskey, match=r"used already"):
        enrol_for(answers[2], "a session")
    assert len(house.run(house.owner.keyring.listed())) == 1


def test_a_passkey_is_enrolled_once(house: House) -> None:
    house.enrol()

    with pytest.raises(InvalidRequest, match=r"enrolled already"):
        house.enrol()


def test_the_number_of_passkeys_is_bounded(tmp_path: Path) -> None:
    house = House(tmp_path, limits=Limits(passkeys=2))
    passkeys = [house.enrol(Authenticator(URL), name) for name in ("One", "")]

    with pytest.raises(InvalidRequest, match=r"2 passkeys are enrolled, .*: remove one\."):
        house.enrol()

    assert [each.name for each in passkeys] == ["One", "Passkey 2"]
    assert house.run(house.owner.keyring.remove(passkeys[0].id))
    assert house.enrol()
    house.server.stop()


def test_a_passkey_can_be_renamed(house: House, caplog: pytest.LogCaptureFixture) -> None:
    passkey, keyring = house.enrol(), house.owner.keyring

    renamed = house.run(keyring.rename(passkey.id, "  Work\x00phone " + "x" * 100))
    refused = [house.run(keyring.rename(*each)) for each in [(passkey.id, " \n"), ("made up", "x")]]

    assert (renamed, refused) == (True, [False, False])
    (listed,) = house.run(keyring.listed())
    assert listed.name == ("Workphone " + "x" * 100)[:60]


# Removal


def test_a_removed_passkey_opens_nothing_and_its_sessions_end(house: House, owner: Visitor) -> None:
    passkey = house.enrol()
    by_password = house.server.visitor()
    approve(house.app, by_password)
    house.approve(owner)

    removed = [house.run(house.owner.keyring.remove(passkey.id)) for _ in range(2)]

    assert removed == [True, False]
    assert has_password_field(house.page(owner))
    assert not has_password_field(house.page(by_password))
    assert "data-passkey" not in house.page(owner).text
    assert house.stored().get("passkeys", {}) == {}


def test_an_answer_of_a_passkey_that_was_removed_meanwhile_is_refused(
    house: House, owner: Visitor
) -> None:
    passkey = house.enrol()
    house.enrol(Authenticator(URL), "Another")
    form = house.form(owner)

    house.run(house.owner.keyring.remove(passkey.id))
    refused = owner.submit(**form)

    assert refused.status_code == 403
    assert NEVER_ENROLLED in alert(refused)


def test_a_sign_in_that_ends_after_the_removal_does_not_bring_the_passkey_back(
    house: House,
) -> None:
    passkey = house.enrol()

    async def use() -> None:
        await house.owner.keyring.remove(passkey.id)
        await house.owner.keyring.used(passkey, 7)  # of a sign-in that had begun before

    house.run(use())

    assert house.run(house.owner.keyring.listed()) == []
    assert not house.run(house.owner.keyring.works(passkey.id))


def test_two_changes_at_once_never_bring_a_removed_passkey_back(house: House) -> None:
    passkey, kept = house.enrol(), house.enrol(Authenticator(URL), "Kept")
    kept_in = house.server.provider.service.records
    ids = house.run(kept_in.get("owner", "passkeys"))

    house.run(house.owner.keyring.remove(passkey.id))
    house.run(kept_in.put(Put("owner", "passkeys", ids)))  # as a change that had read it before

    assert [each.id for each in house.run(house.owner.keyring.listed())] == [kept.id]
    assert not house.run(house.owner.keyring.works(passkey.id))


def test_a_passkey_that_the_index_lost_does_not_work(house: House, owner: Visitor) -> None:
    house.enrol()
    house.enrol(Authenticator(URL), "Another")
    form = house.form(owner)
    kept_in = house.server.provider.service.records
    ids = house.run(kept_in.get("owner", "passkeys"))["keys"]

    house.run(kept_in.put(Put("owner", "passkeys", {"keys": ids[1:]})))

    assert owner.submit(**form).status_code == 403


def test_a_passkey_is_known_by_all_of_its_id(house: House, owner: Visitor) -> None:
    passkey = house.enrol()
    form, kept_in = house.form(owner), house.server.provider.service.records
    record = house.run(kept_in.get("passkeys", passkey.id))

    house.run(kept_in.put(Put("passkeys", passkey.id, {**record, "credential": "another"})))

    assert NEVER_ENROLLED in alert(owner.submit(**form))


# In place of the password


def test_a_password_that_is_switched_off_is_not_asked_for_and_opens_nothing(
    house: House, owner: Visitor, stranger: Visitor
) -> None:
    house.enrol()
    house.run(house.owner.switch_password_off())

    page = house.page(stranger)
    form = {"ticket": ticket_of(page), "decision": "approve"}
    right = stranger.submit(**form, password=PASSWORD)
    nothing = stranger.submit(**form)

    assert not has_password_field(page)
    assert "<noscript>" in page.text
    assert (right.status_code, nothing.status_code) == (403, 403)
    assert "switched off" in alert(right)
    assert "JavaScript" in alert(nothing)
    assert house.approve(owner).status_code == 303


def test_while_the_password_is_off_a_right_one_and_a_wrong_one_are_answered_alike(
    house: House, stranger: Visitor
) -> None:
    house.enrol()
    house.run(house.owner.switch_password_off())

    def attempt(password: str) -> tuple[int, str]:
        form = {"ticket": ticket_of(house.page(stranger)), "decision": "approve"}
        answer = stranger.submit(**form, password=password)
        return answer.status_code, alert(answer)

    assert attempt(PASSWORD) == attempt("a guess")
    assert [attempt("a guess")[0] for _ in range(4)] == [403, 403, 403, 429]


def test_without_a_passkey_the_password_cannot_be_switched_off(house: House) -> None:
    with pytest.raises(InvalidRequest, match=r"enrol one first"):
        house.run(house.owner.switch_password_off())

    assert house.run(house.owner.password_is_on())


def test_removing_the_last_passkey_switches_the_password_on_for_good(
    house: House, owner: Visitor
) -> None:
    one, two = house.enrol(), house.enrol(Authenticator(URL), "Another")
    house.run(house.owner.switch_password_off())
    on = []

    for passkey in (one, two):
        house.run(house.owner.keyring.remove(passkey.id))
        on.append(house.run(house.owner.password_is_on()))
    house.enrol(Authenticator(URL), "A later one")

    assert on == [False, True]
    assert house.run(house.owner.password_is_on())
    assert approve(house.app, owner)


def test_the_password_can_be_switched_on_again(house: House, owner: Visitor) -> None:
    house.enrol()
    house.run(house.owner.switch_password_off())

    house.run(house.owner.switch_password_on())

    assert has_password_field(house.page(owner))
    assert approve(house.app, owner)


def test_switching_the_password_off_ends_every_session_but_the_one_that_did_it(
    house: House, owner: Visitor
) -> None:
    house.enrol()
    others = [house.server.visitor() for _ in range(2)]
    for visitor in (owner, *others):
        approve(house.app, visitor)

    house.run(house.owner.switch_password_off(owner.cookies["__Host-pa_session"]))

    assert "data-passkey" not in house.page(owner).text
    assert all("data-passkey" in house.page(each).text for each in others)
    house.run(house.owner.switch_password_on())
    assert all("data-passkey" in house.page(each).text for each in others)


def test_a_switched_off_password_stays_off_over_a_restart(house: House, stranger: Visitor) -> None:
    house.enrol()
    house.run(house.owner.switch_password_off())

    house.restart(password="another password")

    assert not house.run(house.owner.password_is_on())
    assert not has_password_field(house.page(house.server.visitor()))


# Where passkeys do not work


def test_under_another_name_passkeys_are_listed_and_the_password_is_back(house: House) -> None:
    passkey = house.enrol()
    house.run(house.owner.switch_password_off())
    proof = house.run(house.owner.sessions.present(passkey.id))
    session = house.run(house.owner.sessions.open(proof=proof))

    house.restart(base_url=ELSEWHERE)
    held_there = house.run(house.owner.sessions.holds(session))
    (there,) = house.run(house.owner.keyring.listed())
    on_there = house.run(house.owner.password_is_on())
    works_there = house.run(house.owner.keyring.any_works())
    house.restart(base_url=URL)

    assert (there.rp_id, there.works) == ("mcp.example.com", False)
    assert (on_there, works_there, held_there) == (True, False, False)
    assert house.run(house.owner.sessions.holds(session))
    assert not house.run(house.owner.password_is_on())
    assert house.approve(house.server.visitor()).status_code == 303


def test_a_passkey_made_under_a_new_name_does_not_switch_the_password_off(house: House) -> None:
    house.enrol()
    house.run(house.owner.switch_password_off())
    house.restart(base_url=ELSEWHERE)

    house.enrol(Authenticator(ELSEWHERE))

    assert house.run(house.owner.password_is_on())
    assert [each.works for each in house.run(house.owner.keyring.listed())] == [False, True]


def test_a_passkey_of_another_name_signs_nobody_in(house: House) -> None:
    house.enrol()
    house.restart(base_url=ELSEWHERE)
    options, challenge, bound_to = _offer(house)
    house.device.origin, house.device.rp_id = ELSEWHERE, "mcp.example.org"
    offer = house.run(house.owner.passkeys.enrol_offer("a session"))
    house.device.user = json.loads(offer.options)["user"]["id"]

    answer = json.dumps(house.device.get(options))

    with pytest.raises(WrongPasskey, match=NEVER_ENROLLED):
        house.run(house.owner.passkeys.check(answer, challenge, bound_to))


def test_without_the_package_there_are_no_passkeys_and_all_else_works(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    stranger = house.server.visitor()
    plain = without_ticket(house.page(stranger))
    house.enrol()
    house.run(house.owner.switch_password_off())

    monkeypatch.setitem(sys.modules, "webauthn", None)
    house.restart()

    keyring, visitor = house.owner.keyring, house.server.visitor()
    assert without_ticket(house.page(visitor)) == plain
    assert "webauthn is not installed" in keyring.obstacle
    assert [each.works for each in house.run(keyring.listed())] == [False]
    assert house.run(house.owner.password_is_on())
    assert approve(App(house.server, house.app.registration), visitor)


@pytest.mark.parametrize("host", ["http://127.0.0.1:8050", "http://[::1]:8050"])
def test_at_an_address_that_is_a_number_there_are_no_passkeys(tmp_path: Path, host: str) -> None:
    house = House.__new__(House)
    house.server = AppServer(tmp_path / "state", base_url=host)

    obstacle = house.owner.keyring.obstacle
    house.server.stop()

    assert "give it a name" in obstacle


def test_the_package_is_not_imported_before_it_is_needed(tmp_path: Path) -> None:
    program = (
        "import sys, personal_auth\n"
        f"personal_auth.PersonalAuthProvider('{URL}', state_dir={str(tmp_path)!r})\n"
        "print('webauthn' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )

    assert done.stdout == "False\n"


# What strangers see and send


def without_ticket(page: httpx.Response) -> str:
    return page.text.replace(ticket_of(page), "TICKET")


def test_without_a_passkey_the_page_is_byte_for_byte_without_a_script(
    house: House, stranger: Visitor
) -> None:
    before = house.page(stranger)
    passkey = house.enrol()
    offering = house.page(stranger)
    house.run(house.owner.keyring.remove(passkey.id))
    after = house.page(stranger)

    assert without_ticket(before) == without_ticket(after)
    for page in (before, after):
        assert "script" not in page.text.lower()
        assert "script" not in page.headers["content-security-policy"]
        assert "passkey" not in page.text.lower()
    assert "<script>" in offering.text
    policy = offering.headers["content-security-policy"]
    assert re.search(r"; script-src 'sha256-[A-Za-z0-9+/]{43}='; require-trusted-types-for", policy)
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy


def nested(depth: int) -> str:
    return "[" * depth + "]" * depth


HOSTILE = [
    "{}",
    "[]",
    "null",
    '"x"',
    "x",
    "\ud83d",
    nested(1700),
    '{"id":' * 900,
    '{"id": "", "response": {}}',
    '{"id": 1, "response": {}}',
    '{"id": "x", "response": []}',
    '{"id": "' + "x" * 2000 + '", "response": {}}',
    "NaN",
    "1e999",
    "9" * 5000,
]


@pytest.mark.parametrize("answer", HOSTILE, ids=range(len(HOSTILE)))
def test_what_is_no_answer_at_all_is_refused_on_the_page(
    house: House, stranger: Visitor, answer: str
) -> None:
    house.enrol()
    form = {**house.form(stranger), "assertion": answer.encode("utf-8", "replace").decode()}

    refused = stranger.submit(**form)

    assert refused.status_code == 403, refused.text
    assert "cannot be read" in alert(refused) or NEVER_ENROLLED in alert(refused)


@pytest.mark.parametrize("odd", ["\ud800", "é", "\x00", "=", [], {}, 1, 1e999, True])
@pytest.mark.parametrize(
    "member",
    ["id", "rawId", "type", "clientDataJSON", "authenticatorData", "signature", "userHandle"],
)
def test_an_odd_member_of_an_answer_is_refused_on_the_page(
    house: House, stranger: Visitor, member: str, odd: Any
) -> None:
    house.enrol()
    form = house.form(stranger)
    answer = json.loads(form["assertion"])
    (answer if member in answer else answer["response"])[member] = odd

    refused = stranger.submit(**{**form, "assertion": json.dumps(answer)})

    assert refused.status_code == 403
    assert "Nothing is connected yet." in alert(refused)


def test_whatever_a_browser_answers_is_refused_on_a_page_and_changes_nothing(house: House) -> None:
    house.enrol()
    stranger, before = house.server.visitor(), house.stored()
    form = house.form(stranger)
    whole = json.loads(form["assertion"])
    parts = st.sampled_from([*whole["response"].values(), whole["id"]]) | texts()
    raw = parts | st.binary(max_size=90).map(to_text)
    responses = changed(whole["response"], raw | json_values(), most=3)
    spoilt_bytes = st.sampled_from(sorted(whole["response"])).flatmap(
        lambda name: broken(st.just(to_bytes(whole["response"][name]))).map(
            lambda spoilt: [*whole["response"].items(), (name, to_text(spoilt))]
        )
    )
    answers = (responses | spoilt_bytes).flatmap(
        lambda response: changed({**whole, "response": dict(response)}, raw | json_values(), most=1)
    )

    def attack(members: list[tuple[str, Any]]) -> None:
        answer = json.dumps(dict(members))
        if answer == form["assertion"] or proves(whole, dict(members)):
            return

        refused = stranger.submit(**{**form, "assertion": answer})

        assert refused.status_code in {400, 403, 413}, refused.text
        assert "Traceback" not in refused.text

    fuzz(attack, answers, examples=300)

    assert house.stored() == before


def proves(whole: dict[str, Any], answer: dict[str, Any]) -> bool:
    """Tells whether an answer still has everything that is signed, and the signature."""
    if not isinstance(answer.get("response"), dict) or answer.get("id") != whole["id"]:
        return False
    signed = ("clientDataJSON", "authenticatorData", "signature")
    return (
        all(_same(answer["response"].get(name), whole["response"][name]) for name in signed)
        and answer.get("type") == "public-key"
    )


def _same(given: object, real: str) -> bool:
    try:
        return isinstance(given, str) and to_bytes(given) == to_bytes(real)
    except ValueError:
        return False


def nested_cbor(depth: int) -> bytes:
    return b"\x81" * depth + b"\x00"


def test_whatever_a_browser_enrols_is_refused_and_changes_nothing(house: House) -> None:
    before, passkeys = house.stored(), house.owner.passkeys
    offer = house.run(passkeys.enrol_offer("a session"))
    house.device.flags = PRESENT  # an attestation is not signed: what can be read is not refused
    whole = house.device.create(offer.options)
    attested = to_bytes(whole["response"]["attestationObject"])
    data = cbor2.loads(attested)["authData"]

    def statement(members: dict[str, Any]) -> bytes:
        return cbor2.dumps({"fmt": "none", "attStmt": {}, "authData": data, **members})

    odd = st.sampled_from([nested_cbor(9000), nested_cbor(400), b"\x9b" + b"\xff" * 8, b""])
    odd |= st.binary(max_size=80) | broken(st.just(attested)).filter(lambda raw: raw != attested)
    odd |= (
        broken(st.just(data))
        .filter(lambda raw: raw != data)
        .map(lambda raw: statement({"authData": raw}))
    )
    odd |= st.sampled_from(
        ["packed", "tpm", "apple", "fido-u2f", "android-key", "android-safetynet", "x", 1, None]
    ).flatmap(
        lambda fmt: st.dictionaries(
            st.sampled_from(["alg", "sig", "x5c", "ver", "certInfo", "pubArea", "response"]),
            st.binary(max_size=40) | st.integers() | st.lists(st.binary(max_size=40)),
        ).map(lambda attested: statement({"fmt": fmt, "attStmt": attested}))
    )

    def attack(raw: bytes) -> None:
        response = {**whole["response"], "attestationObject": to_text(raw)}
        answer = json.dumps({**whole, "response": response})
        enrolling = passkeys.enrol(answer, offer.challenge, "a session", "x", "203.0.113.9")

        with pytest.raises(WrongPasskey):
            house.run(enrolling)

    fuzz(attack, odd, examples=300)

    assert house.stored() == before


# Sessions


def sessions_of(house: House, cookie: str | None = None) -> list[Any]:
    listed: list[Any] = house.run(house.owner.sessions.listed(cookie))
    return listed


def test_sessions_are_listed_with_how_and_where_they_were_opened(house: House) -> None:
    passkey = house.enrol()
    phone = house.server.visitor(
        **{"user-agent": "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) Safari/604.1"}
    )
    desk = house.server.visitor(**{"user-agent": "curl/8\x7f.0"})
    approve(house.app, desk)
    house.server.clock.advance(60)
    house.approve(phone)

    newest, oldest = sessions_of(house, phone.cookies["__Host-pa_session"])

    now = house.server.clock()
    assert (newest.browser, newest.passkey, newest.this) == ("Safari on iPhone", passkey.id, True)
    assert (newest.created, newest.expires) == (now, now + 12 * 60 * 60)
    assert (oldest.browser, oldest.passkey, oldest.this) == ("curl/8.0", "", False)
    assert oldest.address == "127.0.0.1"
    assert newest.id != oldest.id


def test_a_session_is_ended_by_its_id_and_no_other(house: House, owner: Visitor) -> None:
    other = house.server.visitor()
    for visitor in (owner, other):
        approve(house.app, visitor)
    mine, theirs = (v.cookies["__Host-pa_session"] for v in (owner, other))
    ended = next(each.id for each in sessions_of(house, theirs) if each.this)

    outcomes = [house.run(house.owner.sessions.end(each)) for each in (ended, ended, "", "made up")]

    assert outcomes == [True, False, False, False]
    assert house.run(house.owner.sessions.holds(mine))
    assert not house.run(house.owner.sessions.holds(theirs))


def test_all_sessions_but_one_end_on_a_store_that_cannot_list(any_store: House) -> None:
    async def use() -> list[bool]:
        sessions = any_store.owner.sessions
        with pytest.raises(StoreUnavailable, match=r"cannot list"):
            await sessions.listed(None)
        mine, theirs = await sessions.open(), await sessions.open()
        await sessions.end_all_but(mine)
        held = [await sessions.holds(each) for each in (mine, theirs)]
        await sessions.end_all_but(None)
        return [*held, await sessions.holds(mine), await sessions.holds(await sessions.open())]

    assert any_store.run(use()) == [True, False, False, True]


def test_a_session_that_was_ended_is_not_kept_by_ending_the_others(house: House) -> None:
    async def use() -> bool:
        sessions = house.owner.sessions
        mine = await sessions.open()
        await sessions.close(mine)
        await sessions.end_all_but(mine)
        return await sessions.holds(mine)

    assert not house.run(use())


def test_a_session_that_ends_while_the_others_do_stays_ended(house: House) -> None:
    async def use() -> list[bool]:
        sessions = house.owner.sessions
        mine, old = await sessions.open(), await sessions.open()
        held = await sessions.held(mine)
        await sessions.close(mine)  # by another request, between the two
        await sessions.renew(mine, held, (held or {})["password"])
        kept = [await sessions.holds(mine)]
        await sessions.end_all_but(None)
        await sessions.end_all_but(old)
        return [*kept, await sessions.holds(old)]

    assert house.run(use()) == [False, False]


class Hesitant(MemoryStore):
    """A store that waits before its first change of a kind until it may make it."""

    def __init__(self, waits: str) -> None:
        super().__init__()
        self.asked, self.may = asyncio.Event(), asyncio.Event()
        self._waits = waits

    async def put(self, key: str, *arguments: Any, **options: Any) -> None:
        await self._hesitate(f"put {key}")
        await super().put(key, *arguments, **options)

    async def delete(self, key: str, *, collection: str | None = None) -> bool:
        await self._hesitate(f"delete {collection}")
        return bool(await super().delete(key, collection=collection))

    async def all_keys(self, collection: str) -> list[str]:
        return [str(key) for key in await self.keys(collection)]

    async def _hesitate(self, change: str) -> None:
        if change == self._waits and not self.asked.is_set():
            self.asked.set()
            await self.may.wait()


async def sign_all_out(owner: Owner) -> None:
    await owner.sessions.end_all_but(None)


async def change_the_password(owner: Owner) -> None:
    await owner.change_password("the next password")


@pytest.mark.parametrize("end", [sign_all_out, change_the_password])
def test_a_session_that_ends_the_others_meanwhile_does_not_outlive_its_own_end(
    tmp_path: Path, end: Callable[[Owner], Any]
) -> None:
    store = Hesitant("put sessions")
    house = House(tmp_path, password=None, client_storage=store)

    async def use() -> list[bool]:
        sessions = house.owner.sessions
        stolen = await sessions.open()
        held = [await sessions.holds(stolen)]
        staying = asyncio.create_task(sessions.end_all_but(stolen))
        await store.asked.wait()
        await end(house.owner)
        store.may.set()
        await staying
        return [*held, await sessions.holds(stolen)]

    held = house.run(use())
    house.server.stop()

    assert held == [True, False]


def test_of_two_passwords_set_at_once_the_session_of_the_lost_one_ends(tmp_path: Path) -> None:
    store = Hesitant("delete sessions")
    house = House(tmp_path, password=None, client_storage=store)

    async def use() -> bool:
        owner = house.owner
        stolen = await owner.sessions.open()
        staying = asyncio.create_task(owner.change_password("a password of the thief", stolen))
        await store.asked.wait()
        await owner.change_password("a password of the owner")
        store.may.set()
        await staying
        return await owner.sessions.holds(stolen)

    held = house.run(use())
    house.server.stop()

    assert not held


def test_a_sign_in_is_fresh_for_ten_minutes(house: House) -> None:
    async def use() -> list[bool]:
        sessions, clock = house.owner.sessions, house.server.clock
        cookie = await sessions.open()
        fresh = [await sessions.is_fresh(cookie)]
        clock.advance(10 * 60 - 1)
        await sessions.end_all_but(cookie)  # which does not make it any fresher
        fresh.append(await sessions.is_fresh(cookie))
        clock.advance(1)
        return [*fresh, await sessions.is_fresh(cookie), await sessions.holds(cookie)]

    assert house.run(use()) == [True, True, False, True]
    assert not house.run(house.owner.sessions.is_fresh(None))


def test_a_changed_password_can_keep_the_session_that_changed_it(tmp_path: Path) -> None:
    house = House(tmp_path, password=None)

    async def use() -> list[bool]:
        sessions = house.owner.sessions
        mine, theirs = await sessions.open(), await sessions.open()
        await house.owner.change_password("the next password", mine)
        return [await sessions.holds(mine), await sessions.holds(theirs)]

    held = house.run(use())
    house.server.stop()

    assert held == [True, False]


def test_a_session_of_an_earlier_version_still_holds(house: House) -> None:
    async def use() -> tuple[bool, bool]:
        sessions, kept_in = house.owner.sessions, house.server.provider.service.records
        cookie = await sessions.open()
        (key,) = await kept_in.keys("sessions")
        record = await kept_in.get("sessions", key)
        assert record is not None
        earlier = {"password": record["password"], "exp": record["exp"]}
        await kept_in.put(Put("sessions", key, earlier))
        return await sessions.holds(cookie), await sessions.is_fresh(cookie)

    assert house.run(use()) == (True, True)
    (listed,) = sessions_of(house)
    assert listed.created == house.server.clock()
