"""Single rules of the grants: boundaries, scopes, resources, what is stored and for how long."""

from __future__ import annotations

import asyncio
import errno
import json
import logging
import threading
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, SupportsFloat

import pytest

from personal_auth.connections import GRANT_ID_CHARS, Connections
from personal_auth.errors import (
    InvalidGrant,
    InvalidScope,
    InvalidTarget,
    InvalidToken,
    StoreUnavailable,
    TicketRefused,
)
from personal_auth.grants import Connection, Grants, Tokens, canonical_resource
from personal_auth.identity import Identity
from personal_auth.limits import Limits
from personal_auth.records import Records
from personal_auth.sealing import Sealer, digest
from personal_auth.seen import Seen
from personal_auth.store import Put, Record, SnapshotStore
from tests.support.hammer import (
    CALLBACK,
    CHALLENGE,
    CLIENT,
    OTHER,
    SCOPES,
    START,
    URL,
    VERIFIER,
    approval,
    grants_over,
)
from tests.support.site import Clock

MOVED = "https://moved.example.com"


class Notebook:
    """A store that keeps everything for ever and notes what was written, and for how long."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str], Record] = {}
        self.lives: dict[tuple[str, str], float | None] = {}
        self.written: list[str] = []

    async def get(self, key: str, *, collection: str | None = None) -> Record | None:
        return self.rows.get((collection or "", key))

    async def put(
        self,
        key: str,
        value: Mapping[str, Any],
        *,
        collection: str | None = None,
        ttl: SupportsFloat | None = None,
    ) -> None:
        place = (collection or "", key)
        self.rows[place] = json.loads(json.dumps(value))
        self.lives[place] = None if ttl is None else float(ttl)
        self.written.append(place[0])

    async def delete(self, key: str, *, collection: str | None = None) -> bool:
        return self.rows.pop((collection or "", key), None) is not None

    async def all_keys(self, collection: str) -> list[str]:
        return [key for place, key in self.rows if place == collection]

    def life(self, collection: str, secret: str) -> float | None:
        return self.lives[collection, digest(secret)]


class Slow(Notebook):
    """One whose every call takes seconds on the clock that is handed in."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        super().__init__()
        self._clock, self._seconds = clock, seconds

    async def get(self, key: str, *, collection: str | None = None) -> Record | None:
        self._clock.advance(self._seconds)
        return await super().get(key, collection=collection)


@pytest.fixture
def store() -> Notebook:
    return Notebook()


@pytest.fixture
def grants(store: Notebook, clock: Clock) -> Grants:
    return grants_over(store, clock)


def run(*calls: Coroutine[Any, Any, Any]) -> Any:
    """Does the calls one after the other; returns the last one's answer."""

    async def one_by_one() -> Any:
        for call in calls:
            answer = await call
        others = asyncio.all_tasks() - {asyncio.current_task()}
        await asyncio.gather(*others)
        return answer

    return asyncio.run(one_by_one())


def code_of(grants: Grants, nonce: str = "page", scopes: tuple[str, ...] = SCOPES) -> str:
    code: str = run(grants.codes.issue(approval(nonce, scopes=scopes)))
    return code


def redeem(grants: Grants, code: str) -> Tokens:
    tokens: Tokens = run(grants.redeem(code, CLIENT, CALLBACK, VERIFIER))
    return tokens


def connect(grants: Grants, nonce: str = "page", scopes: tuple[str, ...] = SCOPES) -> Tokens:
    return redeem(grants, code_of(grants, nonce, scopes))


def refresh(grants: Grants, tokens: Tokens, scope: str | None = None) -> Tokens:
    fresh: Tokens = run(grants.refresh(tokens.refresh, CLIENT, scope))
    return fresh


# Boundaries in time


def test_a_code_is_good_to_its_last_moment(grants: Grants, clock: Clock) -> None:
    code = code_of(grants)

    clock.advance(60)

    assert redeem(grants, code).expires == START + 60 + 3600


def test_a_code_is_burned_by_a_client_that_comes_too_late(grants: Grants, clock: Clock) -> None:
    code = code_of(grants)

    clock.advance(60.001)

    with pytest.raises(InvalidGrant, match="unknown or expired"):
        redeem(grants, code)
    with pytest.raises(InvalidGrant, match="used already"):
        redeem(grants, code)


def test_a_code_may_be_approved_again_to_its_last_moment(grants: Grants, clock: Clock) -> None:
    code = code_of(grants)

    clock.advance(60)
    again = code_of(grants)
    clock.advance(0.001)

    assert again == code
    with pytest.raises(TicketRefused, match="start again"):
        code_of(grants)


def test_a_code_that_led_to_a_grant_leads_to_no_second_one(
    grants: Grants, store: Notebook, clock: Clock
) -> None:
    code = code_of(grants)
    tokens = redeem(grants, code)
    before = store.rows["grants", grants.codes.id_of("page")]
    store.rows["live", digest(code)] = {}  # as a slow second Approve would write it

    clock.advance(1)
    with pytest.raises(InvalidGrant, match="used or revoked already"):
        redeem(grants, code)

    assert store.rows["grants", grants.codes.id_of("page")] == before
    assert run(grants.check(tokens.access))


@pytest.mark.parametrize(("after", "revoked"), [(10, False), (10.001, True)])
def test_a_code_presented_again_revokes_only_after_ten_seconds(
    grants: Grants, clock: Clock, after: float, revoked: bool
) -> None:
    code = code_of(grants)
    tokens = redeem(grants, code)

    clock.advance(after)
    with pytest.raises(InvalidGrant, match="used already"):
        redeem(grants, code)

    if revoked:
        with pytest.raises(InvalidToken, match="revoked"):
            run(grants.check(tokens.access))
    else:
        assert run(grants.check(tokens.access))


def test_an_access_token_ends_at_the_moment_it_says(grants: Grants, clock: Clock) -> None:
    tokens = connect(grants)

    clock.now = tokens.expires - 0.001
    last = run(grants.check(tokens.access))
    clock.now = tokens.expires

    assert last == Connection(
        grants.codes.id_of("page"), CLIENT.id, CLIENT.name, SCOPES, tokens.expires
    )
    with pytest.raises(InvalidToken, match="unknown or expired"):
        run(grants.check(tokens.access))


def test_a_refresh_token_ends_at_the_moment_it_should(store: Notebook, clock: Clock) -> None:
    grants = grants_over(store, clock, refresh_seconds=1000)
    first, second = connect(grants, "one"), connect(grants, "two")

    clock.advance(999.999)
    assert refresh(grants, first)
    clock.advance(0.001)

    with pytest.raises(InvalidGrant, match="expired: connect again"):
        refresh(grants, second)


def test_a_refresh_token_without_an_end_is_good_after_ten_years(
    grants: Grants, clock: Clock
) -> None:
    tokens = connect(grants)

    clock.advance(10 * 365 * 24 * 3600)

    assert run(grants.check(refresh(grants, tokens).access))


def test_a_refresh_at_the_last_moment_may_be_retried_after_it(
    store: Notebook, clock: Clock
) -> None:
    grants = grants_over(store, clock, refresh_seconds=1000)
    tokens = connect(grants)

    clock.advance(999)
    first = refresh(grants, tokens)
    clock.advance(120)

    assert refresh(grants, tokens) == first


def test_the_replay_of_a_used_refresh_token_revokes_also_after_its_end(
    store: Notebook, clock: Clock
) -> None:
    grants = grants_over(store, clock, refresh_seconds=1000)
    tokens = connect(grants)
    fresh = refresh(grants, tokens)

    clock.advance(1001)
    with pytest.raises(InvalidGrant, match="the connection was revoked"):
        refresh(grants, tokens)

    with pytest.raises(InvalidToken):
        run(grants.check(fresh.access))


def test_each_refresh_token_has_a_whole_life(store: Notebook, clock: Clock) -> None:
    grants = grants_over(store, clock, refresh_seconds=1000)
    tokens = connect(grants)

    for _ in range(3):
        clock.advance(999)
        tokens = refresh(grants, tokens)

    assert run(grants.check(tokens.access))


def test_times_count_from_when_the_request_came_in(clock: Clock) -> None:
    grants = grants_over(Slow(clock, 3), clock)
    code = code_of(grants)
    asked = clock.now

    tokens = redeem(grants, code)
    assert clock.now > asked
    assert tokens.expires == asked + 3600
    asked = clock.now

    assert refresh(grants, tokens).expires == asked + 3600


def test_a_retry_gets_the_expiry_of_the_first_answer(grants: Grants, clock: Clock) -> None:
    tokens = connect(grants)
    clock.advance(50)
    first = refresh(grants, tokens)

    clock.advance(100)
    again = refresh(grants, tokens)

    assert again == first
    assert again.expires == START + 50 + 3600


def test_a_retry_is_answered_also_after_its_successor_was_used(
    grants: Grants, clock: Clock
) -> None:
    tokens = connect(grants)
    first = refresh(grants, tokens)
    newest = refresh(grants, first)

    clock.advance(120)

    assert refresh(grants, tokens) == first
    assert refresh(grants, first) == newest


def test_a_retry_does_not_make_the_window_longer(grants: Grants, clock: Clock) -> None:
    tokens = connect(grants)
    refresh(grants, tokens)

    clock.advance(100)
    refresh(grants, tokens)
    clock.advance(21)

    with pytest.raises(InvalidGrant, match="the connection was revoked"):
        refresh(grants, tokens)


def test_a_refresh_token_is_used_when_its_successor_is_there(
    grants: Grants, store: Notebook, clock: Clock
) -> None:
    tokens = connect(grants)
    first = refresh(grants, tokens)
    del store.rows["refresh", digest(tokens.refresh)]["used"]  # whoever wrote it died before

    clock.advance(120)
    again = refresh(grants, tokens)
    del store.rows["refresh", digest(tokens.refresh)]["used"]
    clock.advance(1)

    assert again == first
    with pytest.raises(InvalidGrant, match="the connection was revoked"):
        refresh(grants, tokens)


def test_a_retry_writes_the_access_token_only(grants: Grants, store: Notebook) -> None:
    tokens = connect(grants)
    refresh(grants, tokens)
    store.written.clear()

    refresh(grants, tokens)

    assert store.written == ["tokens"]


@pytest.mark.parametrize("forgotten", ["tokens", "refresh"])
def test_a_used_refresh_token_never_opens_again_whatever_the_store_forgets(
    grants: Grants, store: Notebook, clock: Clock, forgotten: str
) -> None:
    tokens = connect(grants)
    fresh = refresh(grants, refresh(grants, tokens))
    used = digest(tokens.refresh)
    store.rows = {
        place: row for place, row in store.rows.items() if place[0] != forgotten or place[1] == used
    }

    clock.advance(121)
    with pytest.raises(InvalidGrant, match="the connection was revoked"):
        refresh(grants, tokens)

    with pytest.raises(InvalidToken):
        run(grants.check(fresh.access))


def test_a_store_that_forgot_the_successor_makes_the_same_one_again(
    grants: Grants, store: Notebook, clock: Clock
) -> None:
    tokens = connect(grants)
    first = refresh(grants, tokens)
    del store.rows["refresh", digest(first.refresh)]

    clock.advance(120)

    assert refresh(grants, tokens) == first
    assert run(grants.check(refresh(grants, first).access))


# Scopes


def test_a_refresh_may_narrow_and_the_next_one_has_all_again(grants: Grants) -> None:
    tokens = connect(grants)

    narrow = refresh(grants, tokens, "tools")
    whole = refresh(grants, narrow)

    assert narrow.scopes == ("tools",)
    assert run(grants.check(narrow.access)).scopes == ("tools",)
    assert whole.scopes == SCOPES


def test_retries_with_other_scopes_share_the_refresh_token(grants: Grants) -> None:
    tokens = connect(grants)

    whole, narrow = refresh(grants, tokens), refresh(grants, tokens, "tools")

    assert whole.refresh == narrow.refresh
    assert whole.access != narrow.access
    assert run(grants.check(whole.access)).scopes == SCOPES
    assert run(grants.check(narrow.access)).scopes == ("tools",)


def test_a_refresh_that_asks_too_much_uses_nothing_up(
    grants: Grants, store: Notebook, clock: Clock
) -> None:
    tokens = connect(grants, scopes=("tools",))
    before = dict(store.rows)

    with pytest.raises(InvalidScope):
        refresh(grants, tokens, "tools offline_access")
    assert store.rows == before

    clock.advance(121)
    assert refresh(grants, tokens)


def test_a_late_replay_revokes_whatever_scope_it_asks(grants: Grants, clock: Clock) -> None:
    tokens = connect(grants, scopes=("tools",))
    fresh = refresh(grants, tokens)

    clock.advance(121)
    with pytest.raises(InvalidGrant, match="the connection was revoked"):
        refresh(grants, tokens, "offline_access")

    with pytest.raises(InvalidToken):
        run(grants.check(fresh.access))


def test_the_answer_to_a_code_has_the_scopes_of_its_approval(grants: Grants) -> None:
    assert connect(grants, "one", ("tools",)).scopes == ("tools",)
    assert connect(grants, "two").scopes == SCOPES


# Who may, and where


def test_tokens_are_for_one_client_only(grants: Grants, clock: Clock) -> None:
    tokens = connect(grants)

    with pytest.raises(InvalidGrant, match="another client"):
        run(grants.refresh(tokens.refresh, OTHER))
    refresh(grants, tokens)
    clock.advance(121)
    with pytest.raises(InvalidGrant, match="another client"):
        run(grants.refresh(tokens.refresh, OTHER))  # no replay of its own: revokes nothing

    assert run(grants.check(tokens.access)).client_id == CLIENT.id


@pytest.mark.parametrize(
    ("client", "redirect", "verifier", "sentence"),
    [
        (OTHER, CALLBACK, VERIFIER, "another client"),
        (CLIENT, CALLBACK + "/", VERIFIER, "redirect_uri"),
        (CLIENT, "", VERIFIER, "redirect_uri"),
        (CLIENT, CALLBACK, VERIFIER[:-1], "code_verifier"),
        (CLIENT, CALLBACK, CHALLENGE, "code_verifier"),
        (CLIENT, CALLBACK, "", "code_verifier"),
    ],
)
def test_a_code_is_burned_by_a_wrong_presentation(
    grants: Grants, client: Any, redirect: str, verifier: str, sentence: str
) -> None:
    code = code_of(grants)

    with pytest.raises(InvalidGrant, match=sentence):
        run(grants.redeem(code, client, redirect, verifier))

    with pytest.raises(InvalidGrant, match="used already"):
        redeem(grants, code)
    assert run(grants.connections.all()) == {}


def test_a_code_of_another_public_url_is_refused(
    grants: Grants, store: Notebook, clock: Clock
) -> None:
    code = code_of(grants)

    with pytest.raises(InvalidGrant, match="another public URL"):
        redeem(grants_over(store, clock, url=MOVED), code)

    assert run(grants.connections.all()) == {}


def test_tokens_of_another_public_url_open_nothing_there(
    grants: Grants, store: Notebook, clock: Clock
) -> None:
    tokens = connect(grants)
    moved = grants_over(store, clock, url=MOVED)

    with pytest.raises(InvalidToken, match="another resource"):
        run(moved.check(tokens.access))
    with pytest.raises(InvalidGrant, match="another public URL"):
        refresh(moved, tokens)

    assert run(grants.check(refresh(grants, tokens).access))


@pytest.mark.parametrize(
    "value",
    [
        "https://mcp.example.com/mcp",
        "https://mcp.example.com/mcp/",
        "https://mcp.example.com/mcp//",
        "https://mcp.example.com:443/mcp",
        "HTTPS://MCP.Example.COM/mcp",
        "https://MCP.example.com:443/mcp/",
    ],
)
def test_our_resource_is_ours_in_every_spelling(value: str) -> None:
    identity = Identity.of(URL)

    assert identity.is_resource(value)
    assert canonical_resource(identity, [value]) == "https://mcp.example.com/mcp"


@pytest.mark.parametrize(
    "value",
    [
        "",
        "https://mcp.example.com",
        "https://mcp.example.com/",
        "https://mcp.example.com/MCP",
        "https://mcp.example.com/mcp/x",
        "https://mcp.example.com/mcp2",
        "https://mcp.example.com//mcp",
        "https://mcp.example.com/mcp?",
        "https://mcp.example.com/mcp?a=b",
        "https://mcp.example.com/mcp#",
        "https://mcp.example.com/mcp#fragment",
        "https://mcp.example.com:80/mcp",
        "https://mcp.example.com:8443/mcp",
        "https://mcp.example.com:/mcp",
        "http://mcp.example.com/mcp",
        "http://mcp.example.com:443/mcp",
        "https://user@mcp.example.com/mcp",
        "https://mcp.example.com./mcp",
        "https://mcp.example.com.evil.example/mcp",
        "https://evil.example/mcp",
        "https://evil.example/https://mcp.example.com/mcp",
        "https://mcp.example.com\\mcp",
        "https://mcp.example.com/%6dcp",
        "https://mcp.example.com/./mcp",
        "https:/mcp.example.com/mcp",
        "//mcp.example.com/mcp",
        " https://mcp.example.com/mcp",
        "https://mcp.example.com/mcp ",
        "https://mcp.example.com/mcp\n",
        "mcp.example.com/mcp",
        "urn:mcp",
    ],
)
def test_another_resource_is_not_ours(value: str) -> None:
    identity = Identity.of(URL)

    with pytest.raises(InvalidTarget, match=r"https://mcp\.example\.com/mcp, once, or absent"):
        canonical_resource(identity, [value])


@pytest.mark.parametrize(
    ("url", "value", "ours"),
    [
        ("http://localhost:8050", "http://localhost:8050/mcp", True),
        ("http://localhost:8050", "http://LOCALHOST:8050/mcp/", True),
        ("http://localhost:8050", "http://localhost/mcp", False),
        ("http://localhost:8050", "http://127.0.0.1:8050/mcp", False),
        ("http://localhost:8050", "https://localhost:8050/mcp", False),
        ("http://[::1]", "http://[::1]:80/mcp", True),
        ("http://localhost", "http://localhost:80/mcp", True),
        ("https://mcp.example.com:8443", "https://mcp.example.com:8443/mcp", True),
        ("https://mcp.example.com:8443", "https://mcp.example.com/mcp", False),
        ("https://mcp.example.com:8443", "https://mcp.example.com:443/mcp", False),
    ],
)
def test_the_resource_has_the_port_of_the_public_url(url: str, value: str, ours: bool) -> None:
    assert Identity.of(url).is_resource(value) is ours


def test_a_missing_resource_means_ours_and_two_are_refused() -> None:
    identity = Identity.of(URL)

    assert canonical_resource(identity, []) == identity.resource
    with pytest.raises(InvalidTarget):
        canonical_resource(identity, [identity.resource] * 2)


# Revoking


def test_only_the_client_itself_revokes_by_token(grants: Grants) -> None:
    tokens = connect(grants)

    run(
        grants.revoke_token(tokens.access, OTHER),
        grants.revoke_token(tokens.refresh, OTHER),
        grants.revoke_token("pat_unknown", CLIENT),
    )
    assert run(grants.check(tokens.access))

    run(grants.revoke_token(tokens.access, CLIENT))
    with pytest.raises(InvalidToken):
        run(grants.check(tokens.access))


def test_a_refresh_token_that_was_used_still_revokes(grants: Grants) -> None:
    tokens = connect(grants)
    fresh = refresh(grants, tokens)

    run(grants.revoke_token(tokens.refresh, CLIENT))

    assert run(grants.connections.all()) == {}
    with pytest.raises(InvalidGrant, match="revoked"):
        refresh(grants, fresh)


def test_revoking_by_id_tells_whether_there_was_something(grants: Grants) -> None:
    connect(grants)
    [gid] = run(grants.connections.all())

    assert run(grants.connections.revoke(gid)) is True
    assert run(grants.connections.revoke(gid)) is False


@pytest.mark.parametrize(
    "gid", ["epoch", "", "0" * 15, "0" * 17, "0" * 16 + "/note", "0" * 16 + "\n", "G" * 16]
)
def test_only_a_grant_can_be_revoked_by_id(grants: Grants, store: Notebook, gid: str) -> None:
    tokens = connect(grants)
    run(grants.connections.revoke_all())
    store.rows["grants", gid] = store.rows["grants", "epoch"]

    assert run(grants.connections.revoke(gid)) is False

    assert ("grants", gid) in store.rows
    with pytest.raises(InvalidToken, match="revoked"):
        run(grants.check(tokens.access))


def test_revoking_all_ends_codes_too_and_leaves_room_for_new_connections(
    grants: Grants, clock: Clock
) -> None:
    tokens, code = connect(grants, "one"), code_of(grants, "two")

    run(grants.connections.revoke_all())
    with pytest.raises(InvalidToken, match="revoked"):
        run(grants.check(tokens.access))
    with pytest.raises(InvalidGrant, match="revoked"):
        refresh(grants, tokens)
    with pytest.raises(InvalidGrant, match="revoked"):
        redeem(grants, code)
    anew = connect(grants, "three")

    assert run(grants.check(anew.access))
    assert list(run(grants.connections.all())) == [grants.codes.id_of("three")]


def test_revoking_all_twice_revokes_twice(grants: Grants) -> None:
    run(grants.connections.revoke_all())
    between = connect(grants)

    run(grants.connections.revoke_all())

    with pytest.raises(InvalidToken, match="revoked"):
        run(grants.check(between.access))


def test_a_page_that_was_approved_before_all_was_revoked_must_be_started_again(
    grants: Grants,
) -> None:
    connect(grants, "connected")
    code_of(grants, "waiting")

    run(grants.connections.revoke_all())

    for nonce in ("connected", "waiting"):
        with pytest.raises(TicketRefused, match="start again"):
            code_of(grants, nonce)


def test_a_page_whose_connection_was_revoked_gives_no_second_code(grants: Grants) -> None:
    connect(grants)
    assert code_of(grants) is None

    run(grants.connections.revoke(grants.codes.id_of("page")))

    with pytest.raises(TicketRefused, match="start again"):
        code_of(grants)


def test_notes_beside_the_grants_are_not_listed(grants: Grants, store: Notebook) -> None:
    connect(grants)
    gid = grants.codes.id_of("page")
    run(store.put(f"{gid}/note", {"name": "my phone", "read_only": True}, collection="grants"))

    listed = run(grants.connections.all())

    assert list(listed) == [gid]
    assert listed[gid]["client"]["name"] == CLIENT.name


# What is logged


def test_what_happens_to_a_connection_is_logged_with_its_id(
    grants: Grants, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    code = code_of(grants)
    gid = grants.codes.id_of("page")

    tokens = redeem(grants, code)
    refresh(grants, tokens)
    refresh(grants, tokens)
    clock.advance(121)
    with pytest.raises(InvalidGrant):
        refresh(grants, tokens)
    second = code_of(grants, "second")
    redeem(grants, second)
    clock.advance(11)
    with pytest.raises(InvalidGrant):
        redeem(grants, second)
    connect(grants, "third")
    run(grants.connections.revoke(grants.codes.id_of("third")), grants.connections.revoke_all())

    assert [record.getMessage() for record in caplog.records] == [
        f"[tokens_issued] grant={gid} client=Test_app to=app.example",
        f"[tokens_refreshed] grant={gid} client=Test_app",
        f"[refresh_retried] grant={gid} client=Test_app",
        f"[refresh_token_replayed_connection_revoked] grant={gid} client=Test_app",
        f"[tokens_issued] grant={grants.codes.id_of('second')} client=Test_app to=app.example",
        f"[code_replayed_connection_revoked] grant={grants.codes.id_of('second')} client=Test_app",
        f"[tokens_issued] grant={grants.codes.id_of('third')} client=Test_app to=app.example",
        f"[connection_revoked] grant={grants.codes.id_of('third')} client=Test_app",
        "[connection_revoked] grant=all",
    ]


# What is stored, in which order, for how long


def test_nothing_that_is_stored_can_be_presented(grants: Grants, store: Notebook) -> None:
    code = code_of(grants)
    tokens = redeem(grants, code)
    fresh = refresh(grants, tokens)

    stored = repr(store.rows)

    secrets = [code, VERIFIER, tokens.access, tokens.refresh, fresh.access, fresh.refresh]
    for secret in secrets:
        assert secret not in stored
        assert secret.partition("_")[2] not in stored or "_" not in secret
        assert digest(secret) in stored or secret is VERIFIER or secret is code


def test_a_stolen_store_computes_no_token(grants: Grants, store: Notebook, clock: Clock) -> None:
    tokens = connect(grants)
    everything = json.loads(json.dumps([[*place, row] for place, row in store.rows.items()]))
    thief = Notebook()
    thief.rows = {(collection, key): row for collection, key, row in everything}

    guesses = [key for collection, key in thief.rows if collection in {"tokens", "refresh"}]
    guesses += [row["seed"] for row in thief.rows.values() if "seed" in row]

    for guess in guesses:
        for text in (guess, f"prt_{guess}"):
            with pytest.raises(InvalidGrant):
                run(grants_over(thief, clock).refresh(text, CLIENT))
    assert refresh(grants_over(thief, clock), tokens)


def test_tokens_are_written_before_the_grant(grants: Grants, store: Notebook) -> None:
    code = code_of(grants)
    store.written.clear()

    redeem(grants, code)

    assert sorted(store.written[:2]) == ["refresh", "tokens"]
    assert store.written[2:] == ["grants"]


def test_a_grant_is_never_written_again(grants: Grants, store: Notebook) -> None:
    tokens = connect(grants)
    store.written.clear()

    refresh(grants, refresh(grants, tokens))

    assert "grants" not in store.written


def test_a_grant_says_who_was_connected_to_what(grants: Grants, store: Notebook) -> None:
    connect(grants)

    assert store.rows["grants", grants.codes.id_of("page")] == {
        "client": CLIENT.to_record(),
        "scopes": list(SCOPES),
        "resource": "https://mcp.example.com/mcp",
        "issuer": "https://mcp.example.com",
        "created": START,
        "epoch": "",
        "read_only": False,
    }


def test_a_code_is_kept_with_all_that_its_redeemer_must_match(
    grants: Grants, store: Notebook
) -> None:
    code = code_of(grants)

    assert store.rows["codes", digest(code)] == {
        "gid": grants.codes.id_of("page"),
        "client": CLIENT.to_record(),
        "redirect": CALLBACK,
        "challenge": CHALLENGE,
        "scopes": list(SCOPES),
        "read_only": False,
        "resource": "https://mcp.example.com/mcp",
        "epoch": "",
        "exp": START + 60,
    }
    assert store.rows["live", digest(code)] == {}


def test_tokens_are_kept_with_their_grant_and_their_times(
    grants: Grants, store: Notebook, clock: Clock
) -> None:
    tokens = connect(grants)
    clock.advance(7)
    fresh = refresh(grants, tokens, "tools")

    gid = grants.codes.id_of("page")
    access = store.rows["tokens", digest(fresh.access)]
    first, second = (store.rows["refresh", digest(t.refresh)] for t in (tokens, fresh))
    seeds = first.pop("seed"), second.pop("seed")
    assert access == {"gid": gid, "exp": START + 7 + 3600, "scopes": ["tools"]}
    assert first == {"gid": gid, "at": START, "used": START + 7}
    assert second == {"gid": gid, "at": START + 7}
    assert seeds[0] != seeds[1]
    assert len(seeds[0]) == len(seeds[1]) == 64


def test_every_record_is_kept_as_long_as_it_can_matter(store: Notebook, clock: Clock) -> None:
    grants = grants_over(store, clock, access_seconds=600, refresh_seconds=5000)

    code = code_of(grants)
    tokens = redeem(grants, code)
    unused = store.life("refresh", tokens.refresh)
    fresh = refresh(grants, tokens)
    clock.advance(90)
    narrow = refresh(grants, tokens, "tools")

    assert store.life("codes", code) == 3600
    assert store.life("live", code) == 120
    assert store.life("tokens", tokens.access) == 600
    assert store.life("tokens", narrow.access) == 510
    assert unused == store.life("refresh", fresh.refresh) == 5000
    assert store.life("refresh", tokens.refresh) == 90 * 24 * 3600
    assert store.lives["grants", grants.codes.id_of("page")] is None


def test_a_refresh_token_without_an_end_is_kept_without_an_end(
    grants: Grants, store: Notebook
) -> None:
    tokens = connect(grants)

    assert store.life("refresh", tokens.refresh) is None


def test_no_store_is_told_to_forget_a_token_before_its_end(clock: Clock) -> None:
    store = Slow(clock, 0.3)
    grants = grants_over(store, clock)

    tokens = connect(grants)

    left = tokens.expires - clock.now
    assert left % 1
    assert left <= (store.life("tokens", tokens.access) or 0) <= 3600


def test_a_store_is_never_told_to_keep_something_for_no_time(store: Notebook, clock: Clock) -> None:
    grants = grants_over(store, clock, access_seconds=30)
    tokens = connect(grants)
    fresh = refresh(grants, tokens)

    clock.advance(100)
    again = refresh(grants, tokens)

    assert again == fresh
    assert store.life("tokens", fresh.access) == 1


def test_limits_can_be_set(store: Notebook, clock: Clock) -> None:
    limits = Limits(
        code_seconds=5,
        code_memory_seconds=50,
        retry_window_seconds=7,
        replay_grace_seconds=2,
        replay_memory_seconds=70,
    )
    grants = grants_over(store, clock, limits=limits)

    code = code_of(grants)
    tokens = redeem(grants, code)
    refresh(grants, tokens)

    assert store.rows["codes", digest(code)]["exp"] == START + 5
    assert (store.life("codes", code), store.life("live", code)) == (50, 10)
    assert store.life("refresh", tokens.refresh) == 70
    clock.advance(8)
    with pytest.raises(InvalidGrant, match="the connection was revoked"):
        refresh(grants, tokens)


# The form of codes, tokens and ids


def test_tokens_say_what_they_are_and_have_256_bits(grants: Grants) -> None:
    code = code_of(grants)
    tokens = redeem(grants, code)
    fresh = refresh(grants, tokens)

    for text, prefix in [
        (code, "pac_"),
        (tokens.access, "pat_"),
        (tokens.refresh, "prt_"),
        (fresh.access, "pat_"),
        (fresh.refresh, "prt_"),
    ]:
        assert text.startswith(prefix)
        assert len(text.removeprefix(prefix)) == 43
    assert tokens.access not in repr(tokens)
    assert tokens.refresh not in repr(tokens)


def test_no_two_tokens_of_one_refresh_are_derived_alike(grants: Grants) -> None:
    tokens = connect(grants)
    fresh = refresh(grants, tokens)
    further = refresh(grants, fresh)

    texts = [t.partition("_")[2] for x in (tokens, fresh, further) for t in (x.access, x.refresh)]

    assert len(set(texts)) == 6


def test_every_replica_of_every_version_derives_the_same_tokens(
    grants: Grants, store: Notebook
) -> None:
    run(
        store.put(
            grants.codes.id_of("page"),
            {"client": CLIENT.to_record(), "scopes": SCOPES, "resource": f"{URL}/mcp", "epoch": ""},
            collection="grants",
        ),
        store.put(
            digest("prt_first"),
            {"gid": grants.codes.id_of("page"), "seed": "5eed" * 16, "at": START},
            collection="refresh",
        ),
    )

    second = run(grants.refresh("prt_first", CLIENT))
    third = refresh(grants, second, "tools")

    assert (second.access, second.refresh) == (
        "pat_u6mrGODi9sDGuZ24qrNtFVN3WvOLbLlC8LZJ6jNTf1c",
        "prt_7quGlFEBfAszLrszw1iv15K3Y7UF97KVs1vr228iObU",
    )
    assert (third.access, third.refresh) == (
        "pat_QqHkkU7jBiW-omTWU7vLc4HlZ-m4H--xuXHjlaQxJMU",
        "prt_Ts9BydZMmTAe575ZAOpV1DYX94S-ol-B_YhVQC3xwvo",
    )


def test_every_replica_of_every_version_derives_the_same_code_from_a_page(grants: Grants) -> None:
    assert code_of(grants) == "pac_Aq2DJ2xetgg4dzAK4Wm6PoBLxhALsol1Fijx3a3zn8I"
    assert grants.codes.id_of("page") == "7540dccd6867b569"


def test_another_key_gives_other_codes_and_ids(grants: Grants, clock: Clock) -> None:
    records, limits = Records(Notebook()), Limits()
    other = Grants(
        records,
        lambda: Sealer(b"x" * 32),
        Identity.of(URL),
        limits,
        connections=Connections(records, Seen(records, limits, clock), limits, clock),
        clock=clock,
        access_seconds=3600,
        refresh_seconds=None,
    )

    assert code_of(other) != code_of(grants)
    assert other.codes.id_of("page") != grants.codes.id_of("page")
    assert len(grants.codes.id_of("page")) == GRANT_ID_CHARS == 16


def test_a_code_waits_until_it_is_presented(grants: Grants) -> None:
    code = code_of(grants)

    before = run(grants.codes.is_unredeemed(code))
    redeem(grants, code)

    assert (before, run(grants.codes.is_unredeemed(code))) == (True, False)


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda grants: grants.check("pat_unknown"), InvalidToken),
        (lambda grants: grants.refresh("prt_unknown", CLIENT), InvalidGrant),
        (lambda grants: grants.redeem("pac_unknown", CLIENT, CALLBACK, VERIFIER), InvalidGrant),
    ],
)
def test_what_was_never_given_opens_nothing(
    grants: Grants, store: Notebook, call: Callable[[Grants], Awaitable[Any]], error: type
) -> None:
    with pytest.raises(error, match="unknown"):
        run(call(grants))  # type: ignore[arg-type]

    assert store.written == []


# The way to the store


def test_every_failure_of_a_store_is_one_kind(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Notebook):
        async def get(self, key: str, *, collection: str | None = None) -> Record | None:
            raise ConnectionResetError("secret host")

    with pytest.raises(StoreUnavailable) as failed:
        run(grants_over(Broken(), Clock()).check("pat_any"))

    assert "secret host" not in str(failed.value)
    assert isinstance(failed.value.__cause__, ConnectionResetError)
    assert "[state_not_available] reason=ConnectionResetError" in caplog.text


def test_a_store_that_does_not_answer_is_given_up(caplog: pytest.LogCaptureFixture) -> None:
    class Silent(Notebook):
        async def get(self, key: str, *, collection: str | None = None) -> Record | None:
            await asyncio.Event().wait()
            return None

    with pytest.raises(StoreUnavailable):
        run(Records(Silent(), 0.01).get("tokens", "any"))

    assert "[state_not_available] reason=TimeoutError" in caplog.text


def test_a_store_has_five_seconds_unless_told_otherwise() -> None:
    seconds = []

    class Asked(Notebook):
        async def get(self, key: str, *, collection: str | None = None) -> Record | None:
            loop, task = asyncio.get_running_loop(), asyncio.current_task()
            timers = [timer.when() - loop.time() for timer in loop._scheduled]  # type: ignore[attr-defined]
            seconds.extend(timers)
            assert task is not None
            return None

    run(Records(Asked()).get("tokens", "any"))

    [given] = seconds
    assert 4.9 < given <= 5


def test_a_store_that_cannot_list_says_so(clock: Clock) -> None:
    class Plain:
        get, put, delete = Notebook.get, Notebook.put, Notebook.delete

        def __init__(self) -> None:
            Notebook.__init__(self)  # type: ignore[arg-type]

    grants = grants_over(Plain(), clock)
    connect(grants)

    with pytest.raises(StoreUnavailable, match="cannot list what it holds; revoking still works"):
        run(grants.connections.all())
    assert run(grants.connections.revoke(grants.codes.id_of("page"))) is True


def test_records_go_to_the_store_they_were_told_last(clock: Clock) -> None:
    snapshot, notebook = SnapshotStore(lambda raw: None, clock=clock), Notebook()
    records = Records(snapshot)
    put = Put("some", "key", {"value": 1}, 50)

    run(records.put(put))
    records.use(notebook)
    nothing = run(records.get("some", "key"))
    run(records.put(put))

    assert nothing is None
    assert notebook.rows == {("some", "key"): {"value": 1}}
    assert notebook.lives == {("some", "key"): 50}
    assert run(records.get_together(("some", "key"), ("some", "other"))) == [{"value": 1}, None]
    assert run(records.keys("some")) == ["key"]
    assert run(records.delete("some", "key")) is True
    assert run(records.delete("some", "key")) is False
    assert snapshot.peek("some", "key") == {"value": 1}


def test_on_the_file_store_reading_never_leaves_the_event_loop(clock: Clock) -> None:
    snapshot = SnapshotStore(lambda raw: None, clock=clock)
    records = Records(snapshot)
    run(records.put(Put("some", "key", {"value": 1})))

    def at_once(call: Coroutine[Any, Any, Any]) -> Any:
        with pytest.raises(StopIteration) as done:
            call.send(None)
        return done.value.value

    assert at_once(records.get("some", "key")) == {"value": 1}
    assert at_once(records.get_together(("some", "key"), ("no", "key"))) == [{"value": 1}, None]


def test_what_is_written_soon_is_there_at_once_and_on_disk_a_little_later(clock: Clock) -> None:
    saved: list[bytes] = []
    snapshot = SnapshotStore(saved.append, clock=clock, later=0.01)
    records = Records(snapshot)

    async def soon() -> None:
        await records.put_soon(Put("some", "key", {"value": 1}))
        assert snapshot.peek("some", "key") == {"value": 1}
        assert saved == []
        await snapshot.flush()
        await snapshot.close()

    run(soon())

    assert len(saved) == 1
    assert b'"value":1' in saved[0]


def test_what_is_written_soon_is_there_when_it_returns_on_any_store() -> None:
    store = Notebook()

    run(Records(store).put_soon(Put("some", "key", {"value": 1})))

    assert store.rows == {("some", "key"): {"value": 1}}


def test_nobody_is_told_of_a_connection_before_it_is_on_disk() -> None:
    full, asked_again = False, threading.Event()

    def save(raw: bytes) -> None:
        if full:
            asked_again.wait(10)
            raise OSError(errno.ENOSPC, "full")

    async def work() -> list[Any]:
        nonlocal full
        store = SnapshotStore(save)
        grants = grants_over(store, Clock())
        code = await grants.codes.issue(approval("a page"))
        await grants.codes.settle()
        assert code is not None
        full = True
        redeemed = asyncio.create_task(grants.redeem(code, CLIENT, CALLBACK, VERIFIER))
        while store.peek("grants", grants.codes.id_of("a page")) is None:
            await asyncio.sleep(0)
        assert await grants.codes.issue(approval("a page")) is None
        again = asyncio.create_task(grants.codes.settle())
        await asyncio.sleep(0)
        asked_again.set()
        return list(await asyncio.gather(redeemed, again, return_exceptions=True))

    redeemed, again = asyncio.run(work())

    assert isinstance(redeemed, StoreUnavailable)
    assert isinstance(again, StoreUnavailable)
