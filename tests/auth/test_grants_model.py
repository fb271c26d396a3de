"""Any order of approving, redeeming, refreshing, revoking and waiting, against a simple model."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine, Iterable
from dataclasses import dataclass, field
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from personal_auth.client import Client
from personal_auth.errors import InvalidToken, Refused
from personal_auth.grants import Connection, Grants, Tokens
from personal_auth.limits import Limits
from personal_auth.store import SnapshotStore
from tests.support.hammer import CLIENT, OTHER, URL, VERIFIER, approval, grants_over
from tests.support.site import Clock

ACCESS_SECONDS, REFRESH_SECONDS = 600, 7200
CODE_SECONDS, GRACE_SECONDS, RETRY_SECONDS = 60, 10, 120
PAGE_SECONDS, CODE_MEMORY_SECONDS = 600, 3600
REPLAY_MEMORY_SECONDS = 8000
ELSEWHERE = "https://moved.example.com"
BOUNDARIES = [
    GRACE_SECONDS,
    CODE_SECONDS,
    RETRY_SECONDS,
    ACCESS_SECONDS,
    REFRESH_SECONDS,
    REPLAY_MEMORY_SECONDS,
]


@dataclass(eq=False)
class Page:
    """A consent page that was approved, its code and the connection that it may lead to."""

    nonce: str
    client: Client
    scopes: tuple[str, ...]
    code: str
    url: str
    approved: float
    claimed: bool = False
    created: float | None = None
    dead: bool = False
    """Revoked; also a code whose approval was revoked before it was redeemed."""
    approved_to_read: bool = False
    held: bool = False
    """Whether the connection is, or will be, held to reading."""

    def shown(self, scopes: tuple[str, ...]) -> tuple[str, ...]:
        """Returns scopes as the connection has them now."""
        return to_reading(scopes) if self.held else scopes


def to_reading(scopes: Iterable[str]) -> tuple[str, ...]:
    return tuple("tools:read" if scope == "tools" else scope for scope in scopes)


@dataclass(eq=False)
class Key:
    """A refresh token."""

    text: str
    page: Page
    issued: float
    used: float | None = None
    answers: dict[tuple[str, ...], Tokens] = field(default_factory=dict)


@dataclass(eq=False)
class Pass:
    """An access token."""

    text: str
    page: Page
    scopes: tuple[str, ...]
    expires: float


@dataclass(eq=False)
class Script:
    """A token for a script."""

    gid: str
    text: str
    url: str
    expires: float
    held: bool
    dead: bool = False


class GrantsModel(RuleBasedStateMachine):
    """What must be true of `Grants`, said by times and flags instead of records and hashes."""

    lasting = False
    """Whether refresh tokens never expire."""

    def __init__(self) -> None:
        super().__init__()
        self.clock, self.loop = Clock(), asyncio.new_event_loop()
        self.pages: list[Page] = []
        self.keys: list[Key] = []
        self.passes: list[Pass] = []
        self.tokens: list[Script] = []
        self.url = URL
        self.store = self.new_store()
        self.grants = self.opened()

    def new_store(self) -> SnapshotStore:
        return SnapshotStore(lambda raw: None, clock=self.clock)

    def opened(self) -> Grants:
        return grants_over(
            self.store,
            self.clock,
            url=self.url,
            access_seconds=ACCESS_SECONDS,
            refresh_seconds=None if self.lasting else REFRESH_SECONDS,
            limits=Limits(replay_memory_seconds=REPLAY_MEMORY_SECONDS),
        )

    def teardown(self) -> None:
        self.loop.run_until_complete(self.store.close())
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()

    def wait(self, call: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(call)

    def outcome(self, call: Coroutine[Any, Any, Any]) -> Any:
        """Returns an answer, or the name of the refusal that came instead."""
        try:
            return self.wait(call)
        except Refused as error:
            return type(error).__name__

    @property
    def now(self) -> float:
        return self.clock.now

    def too_old(self, key: Key) -> bool:
        return not self.lasting and self.now >= key.issued + REFRESH_SECONDS

    def forgotten(self, key: Key) -> bool:
        if key.used is None:
            return self.too_old(key)
        return self.now >= key.used + REPLAY_MEMORY_SECONDS

    def live(self, page: Page) -> bool:
        return page.created is not None and not page.dead

    def lives(self, token: Script) -> bool:
        return not token.dead and self.now < token.expires

    # What people and programs do

    @initialize(client=st.sampled_from([CLIENT, OTHER]))
    def a_first_connection(self, client: Client) -> None:
        self.approve(client, ("tools", "offline_access"), False)
        self.redeem(self.pages[0], "right")

    @rule(
        client=st.sampled_from([CLIENT, OTHER]),
        scopes=st.sampled_from([("tools",), ("tools", "offline_access"), ("tools:read",)]),
        read_only=st.booleans(),
    )
    def approve(self, client: Client, scopes: tuple[str, ...], read_only: bool) -> None:
        nonce = f"page {len(self.pages)}"
        approved = approval(nonce, client, scopes, read_only=read_only)

        code = self.wait(self.grants.codes.issue(approved))

        assert code not in {None, *(page.code for page in self.pages)}
        page = Page(nonce, client, scopes, code, self.url, self.now)
        page.approved_to_read = page.held = read_only
        self.pages.append(page)

    @rule(data=st.data(), read_only=st.booleans())
    def approve_again(self, data: st.DataObject, read_only: bool) -> None:
        page = data.draw(st.sampled_from(self.pages))
        if self.now > page.approved + PAGE_SECONDS:
            return  # the page itself is refused

        approved = approval(page.nonce, page.client, page.scopes, read_only=read_only)
        code = self.outcome(self.grants.codes.issue(approved))

        if self.live(page):
            assert code is None
            page.held |= read_only and not page.approved_to_read
        elif page.claimed or page.dead or self.now > page.approved + CODE_SECONDS:
            assert code == "TicketRefused"
        else:
            assert code == page.code
            page.approved_to_read |= read_only
            page.held |= read_only

    @rule(data=st.data(), read_only=st.booleans())
    def narrow(self, data: st.DataObject, read_only: bool) -> None:
        page = data.draw(st.sampled_from(self.pages[::-1]))
        connections = self.grants.connections

        said = self.wait(connections.narrow(self.grants.codes.id_of(page.nonce), read_only))

        assert said == self.live(page)
        page.held = read_only if said else page.held

    @rule(read_only=st.booleans(), seconds=st.sampled_from([30, ACCESS_SECONDS, REFRESH_SECONDS]))
    def make_a_token(self, read_only: bool, seconds: int) -> None:
        made = self.grants.issue_token("Script", read_only=read_only, seconds=seconds)
        gid, text = self.wait(made)

        self.tokens.append(Script(gid, text, self.url, self.now + seconds, read_only))

    @precondition(lambda self: self.tokens)
    @rule(data=st.data(), read_only=st.booleans())
    def narrow_a_token(self, data: st.DataObject, read_only: bool) -> None:
        token = data.draw(st.sampled_from(self.tokens[::-1]))

        said = self.wait(self.grants.connections.narrow(token.gid, read_only))

        assert said == self.lives(token)
        token.held = read_only

    @precondition(lambda self: self.tokens)
    @rule(data=st.data())
    def revoke_a_token(self, data: st.DataObject) -> None:
        token = data.draw(st.sampled_from(self.tokens[::-1]))
        was_live = self.lives(token)

        assert self.wait(self.grants.connections.revoke(token.gid)) or not was_live
        token.dead = True

    @rule(
        data=st.data(),
        how=st.sampled_from(["right", "right", "verifier", "client", "redirect", "no redirect"]),
    )
    def redeem_a_code(self, data: st.DataObject, how: str) -> None:
        self.redeem(data.draw(st.sampled_from(self.pages)), how)

    def redeem(self, page: Page, how: str) -> None:
        right = how in {"right", "no redirect"}
        other = CLIENT if page.client is OTHER else OTHER
        redirect = {"redirect": "https://app.example/other", "no redirect": None}

        answer = self.outcome(
            self.grants.redeem(
                page.code,
                other if how == "client" else page.client,
                redirect.get(how, "https://app.example/callback"),
                "w" * 43 if how == "verifier" else VERIFIER,
            )
        )

        if self.now >= page.approved + CODE_MEMORY_SECONDS:
            assert answer == "InvalidGrant"
        elif page.claimed or self.now > page.approved + 2 * CODE_SECONDS:
            assert answer == "InvalidGrant"
            if page.created is not None and self.now > page.created + GRACE_SECONDS:
                page.dead = True
        else:
            page.claimed = True
            in_time = self.now <= page.approved + CODE_SECONDS
            if right and in_time and not page.dead and page.url == self.url:
                assert isinstance(answer, Tokens)
                told = (page.shown(page.scopes), self.now + ACCESS_SECONDS)
                assert (answer.scopes, answer.expires) == told
                page.created = self.now
                self.take(page, answer, self.now, page.scopes)
            else:
                assert answer == "InvalidGrant"

    def take(self, page: Page, tokens: Tokens, at: float, scopes: tuple[str, ...]) -> None:
        if tokens.access not in {each.text for each in self.passes}:
            self.passes.append(Pass(tokens.access, page, scopes, tokens.expires))
        if tokens.refresh not in {key.text for key in self.keys}:
            self.keys.append(Key(tokens.refresh, page, at))

    @precondition(lambda self: self.keys)
    @rule(
        data=st.data(),
        scope=st.sampled_from(
            [
                *(None, None, "", "tools", "tools offline_access", "offline_access", "claudeai"),
                *("tools:read", "tools:read offline_access"),
            ]
        ),
        wrong_client=st.sampled_from([False, False, False, True]),
    )
    def refresh(self, data: st.DataObject, scope: str | None, wrong_client: bool) -> None:
        newest_first = st.sampled_from(self.keys[::-1])
        key = data.draw(newest_first)
        self.refresh_with(key, scope, wrong_client)

    @precondition(lambda self: self.keys)
    @rule()
    def refresh_with_the_newest(self) -> None:
        self.refresh_with(self.keys[-1], None, False)

    def refresh_with(self, key: Key, scope: str | None, wrong_client: bool) -> None:
        page = key.page
        other = CLIENT if page.client is OTHER else OTHER

        answer = self.outcome(
            self.grants.refresh(key.text, other if wrong_client else page.client, scope)
        )

        asked = [word for word in (scope or "").split() if word != "claudeai"]
        granted = tuple(
            word for word in page.scopes if word in asked or not asked or word != "offline_access"
        )
        if "tools:read" in asked and "tools" not in asked:
            granted = to_reading(granted)
        if not self.live(page) or wrong_client or page.url != self.url or self.forgotten(key):
            assert answer == "InvalidGrant"
        elif key.used is not None and self.now > key.used + RETRY_SECONDS:
            assert answer == "InvalidGrant"
            page.dead = True
        elif key.used is None and self.too_old(key):
            assert answer == "InvalidGrant"
        elif not set(asked) <= {*page.scopes, "tools:read"}:
            assert answer == "InvalidScope"
        else:
            self.refreshed(key, answer, granted)

    def refreshed(self, key: Key, answer: Any, granted: tuple[str, ...]) -> None:
        assert isinstance(answer, Tokens)
        if key.used is None:
            key.used = self.now
        for earlier in key.answers.values():
            assert answer.refresh == earlier.refresh
        assert key.answers.setdefault(granted, answer).access == answer.access
        shown = key.page.shown(granted)
        assert (answer.scopes, answer.expires) == (shown, key.used + ACCESS_SECONDS)
        self.take(key.page, answer, key.used, granted)

    @precondition(lambda self: self.keys)
    @rule(data=st.data(), wrong_client=st.booleans())
    def revoke_by_refresh_token(self, data: st.DataObject, wrong_client: bool) -> None:
        key = data.draw(st.sampled_from(self.keys))
        if not self.forgotten(key):
            self.revoke_by(key.text, key.page, wrong_client)

    @precondition(lambda self: self.passes)
    @rule(data=st.data(), wrong_client=st.booleans())
    def revoke_by_access_token(self, data: st.DataObject, wrong_client: bool) -> None:
        token = data.draw(st.sampled_from(self.passes))
        if self.now < token.expires:
            self.revoke_by(token.text, token.page, wrong_client)

    def revoke_by(self, token: str, page: Page, wrong_client: bool) -> None:
        other = CLIENT if page.client is OTHER else OTHER
        self.wait(self.grants.revoke_token(token, other if wrong_client else page.client))
        page.dead |= not wrong_client

    @rule(token=st.sampled_from(["", "pat_", "prt_made-up", "epoch"]))
    def revoke_something_unknown(self, token: str) -> None:
        self.wait(self.grants.revoke_token(token, CLIENT))

    @rule(data=st.data())
    def revoke_by_id(self, data: st.DataObject) -> None:
        page = data.draw(st.sampled_from(self.pages))
        was_live = self.live(page)

        revoked = self.wait(self.grants.connections.revoke(self.grants.codes.id_of(page.nonce)))

        assert revoked or not was_live
        page.dead |= page.created is not None

    @rule()
    def revoke_all(self) -> None:
        self.wait(self.grants.connections.revoke_all())
        for each in (*self.pages, *self.tokens):
            each.dead = True

    @rule(gid=st.sampled_from(["epoch", "", "0" * 16, "F" * 16, "../epoch", "0" * 16 + "/note"]))
    def revoke_what_is_no_grant(self, gid: str) -> None:
        assert self.wait(self.grants.connections.revoke(gid)) is False

    # What happens to the server

    @rule(
        seconds=st.one_of(
            st.sampled_from(BOUNDARIES).flatmap(lambda b: st.integers(b - 1, b + 1)),
            st.integers(0, 30),
        )
    )
    def time_passes(self, seconds: int) -> None:
        self.clock.advance(seconds)

    @rule(data=st.data(), boundary=st.sampled_from(BOUNDARIES), beside=st.sampled_from([-1, 0, 1]))
    def time_passes_to_a_boundary(self, data: st.DataObject, boundary: int, beside: int) -> None:
        moments = [page.approved for page in self.pages]
        moments += [page.created for page in self.pages if page.created is not None]
        moments += [key.issued for key in self.keys]
        moments += [key.used for key in self.keys if key.used is not None]
        moment = data.draw(st.sampled_from(moments[::-1])) + boundary + beside
        self.clock.now = max(self.now, moment)

    @precondition(lambda self: self.keys)
    @rule(data=st.data(), beside=st.sampled_from([-1, 0, 1]))
    def refresh_at_a_boundary(self, data: st.DataObject, beside: int) -> None:
        key = data.draw(st.sampled_from(self.keys[::-1]))
        boundary = data.draw(st.sampled_from([RETRY_SECONDS, REFRESH_SECONDS]))
        since = key.issued if key.used is None or boundary == REFRESH_SECONDS else key.used
        if since + boundary + beside >= self.now:
            self.clock.now = since + boundary + beside
            self.refresh_with(key, None, False)

    @rule(data=st.data(), beside=st.sampled_from([-1, 0, 1]))
    def redeem_at_a_boundary(self, data: st.DataObject, beside: int) -> None:
        page = data.draw(st.sampled_from(self.pages[::-1]))
        since, boundary = page.approved, CODE_SECONDS
        if page.created is not None:
            since, boundary = page.created, GRACE_SECONDS
        if since + boundary + beside >= self.now:
            self.clock.now = since + boundary + beside
            self.redeem(page, "right")

    @rule()
    def restart(self) -> None:
        document = json.loads(self.store.dump())
        self.wait(self.store.close())
        self.store = self.new_store()
        self.store.load(document)
        self.grants = self.opened()

    @rule()
    def move(self) -> None:
        self.url = ELSEWHERE if self.url == URL else URL
        self.grants = self.opened()

    # What is always true

    @invariant()
    def exactly_the_live_open(self) -> None:
        for each in self.passes:
            opened = self.live(each.page) and each.page.url == self.url
            if opened and self.now < each.expires:
                expected: object = Connection(
                    self.grants.codes.id_of(each.page.nonce),
                    each.page.client.id,
                    each.page.client.name,
                    each.page.shown(each.scopes),
                    each.expires,
                )
            else:
                expected = InvalidToken.__name__
            assert self.outcome(self.grants.check(each.text)) == expected

    @invariant()
    def exactly_the_live_tokens_open(self) -> None:
        for token in self.tokens:
            found = self.outcome(self.grants.check(token.text))
            if self.lives(token) and token.url == self.url:
                assert (found.grant_id, found.read_only) == (token.gid, token.held)
            else:
                assert found == InvalidToken.__name__

    @invariant()
    def exactly_the_live_are_listed(self) -> None:
        live = {self.grants.codes.id_of(page.nonce) for page in self.pages if self.live(page)}
        live |= {token.gid for token in self.tokens if self.lives(token)}
        listed = {each.id: each.read_only for each in self.wait(self.grants.connections.listed())}
        assert set(listed) == live
        for page in self.pages:
            if self.live(page):
                held = "tools" not in page.shown(page.scopes)
                assert listed[self.grants.codes.id_of(page.nonce)] == held


class LastingModel(GrantsModel):
    lasting = True


SETTINGS = settings(
    max_examples=100,
    stateful_step_count=40,
    deadline=None,
    database=None,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)
TestWithExpiringRefreshTokens = GrantsModel.TestCase
TestWithExpiringRefreshTokens.settings = SETTINGS
TestWithLastingRefreshTokens = LastingModel.TestCase
TestWithLastingRefreshTokens.settings = SETTINGS
