"""A state that moves to another store, and what holds wherever that is cut off."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, SupportsFloat

import pytest

from personal_auth.errors import StartRefused
from personal_auth.firststart import sealer_of
from personal_auth.moving import Whole, file_store, move, survey
from personal_auth.statedir import StateDir
from personal_auth.store import Put, Record, SnapshotStore
from tests.support.site import Clock

STATE = [
    Put("owner", "key", {"key": "ab" * 32}),
    Put("owner", "password", {"hash": "$argon2id$..."}),
    Put("grants", "0123456789abcdef", {"client": {"name": "Claude"}}),
    Put("grants", "epoch", {"id": "e1"}),
    Put("tokens", "t1", {"gid": "0123456789abcdef"}, 3600),
    Put("refresh", "r1", {"gid": "0123456789abcdef"}),
    Put("codes", "c1", {"exp": 1}, 600),
]


class Death(BaseException):
    """The process ends here."""


class Memory(SnapshotStore):
    """A store in memory that can be filled and looked at."""

    def __init__(self, clock: Clock, *puts: Put) -> None:
        super().__init__(lambda raw: None, clock=clock)
        self.put_at_start(puts)

    def serves(self) -> bool:
        """Tells whether a server would start here and go on with the state."""
        key = self.peek("owner", "key")
        try:
            return key is not None and sealer_of(key) is not None
        except StartRefused:
            return False

    def is_new(self) -> bool:
        """Tells whether a server would start here anew."""
        return self.peek("owner", "key") is None

    def whole(self) -> dict[tuple[str, str], tuple[Record, float | None]]:
        async def read() -> list[Put]:
            return [put async for put in self.rows()]

        found = asyncio.run(read())
        return {(put.collection, put.key): (put.value, put.ttl) for put in found}


class Lives:
    """How many changes a process makes before it dies, over all of its stores."""

    def __init__(self, left: int) -> None:
        self.left = left

    def spend(self) -> None:
        if self.left == 0:
            raise Death
        self.left -= 1


class Mortal:
    """A store as a process sees it that dies at one of its changes."""

    def __init__(self, store: Whole, lives: Lives) -> None:
        self._store, self._lives = store, lives

    async def get(self, key: str, *, collection: str | None = None) -> Record | None:
        return await self._store.get(key, collection=collection)

    async def put(
        self,
        key: str,
        value: Mapping[str, Any],
        *,
        collection: str | None = None,
        ttl: SupportsFloat | None = None,
    ) -> None:
        self._lives.spend()
        await self._store.put(key, value, collection=collection, ttl=ttl)

    async def delete(self, key: str, *, collection: str | None = None) -> bool:
        self._lives.spend()
        return await self._store.delete(key, collection=collection)

    def rows(self) -> AsyncIterator[Put]:
        return self._store.rows()


def moving(source: Whole, target: Whole, to: str = "the Redis at a:1/0") -> None:
    asyncio.run(move(source, target, to, lambda done, whole: None))


def test_everything_arrives_and_nothing_is_left_behind(clock: Clock) -> None:
    source, target = Memory(clock, *STATE), Memory(clock)
    before = source.whole()

    moving(source, target)

    assert target.whole() == before
    assert source.whole() == {("owner", "key"): ({"moved": "the Redis at a:1/0"}, None)}
    assert (source.serves(), source.is_new(), target.serves()) == (False, False, True)


@pytest.mark.parametrize("tombstone", [False, True], ids=["to a new store", "back again"])
def test_wherever_it_is_cut_off_one_store_holds_and_the_same_call_goes_on(
    clock: Clock, tombstone: bool
) -> None:
    there = [Put("owner", "key", {"moved": "the file"}), Put("tokens", "old", {})]
    lives, cuts = 0, 0
    while True:
        source, target = Memory(clock, *STATE), Memory(clock, *(there if tombstone else []))
        before, dying = source.whole(), Lives(lives)
        try:
            moving(Mortal(source, dying), Mortal(target, dying))
        except Death:
            cuts += 1
        else:
            break
        assert not (source.serves() and target.serves())
        assert not source.is_new()
        if source.serves():
            assert source.whole() == before
        if target.serves():
            assert target.whole() == before

        moving(source, target)

        assert target.whole() == before, lives
        assert source.whole().keys() == {("owner", "key")}
        assert (source.serves(), target.serves()) == (False, True)
        lives += 1

    assert cuts > 2 * len(STATE)


def test_a_target_that_lost_what_had_arrived_does_not_cost_what_is_still_here(
    clock: Clock,
) -> None:
    cut = 0
    for lives in range(100):
        source, target = Memory(clock, *STATE), Memory(clock)
        dying = Lives(lives)
        with suppress(Death):
            moving(Mortal(source, dying), Mortal(target, dying))
        before = source.whole()
        if set(before["owner", "key"][0]) != {"key", "moved"}:
            continue
        cut += 1
        for lost in (Memory(clock), Memory(clock, Put("owner", "key", {"key": "cd" * 32}))):
            with pytest.raises(StartRefused, match="is not there any more"):
                moving(source, lost)

            assert source.whole() == before
    assert cut > len(STATE)


def test_a_target_that_lost_a_part_of_what_had_arrived_gets_no_key(clock: Clock) -> None:
    source, target = Memory(clock, *STATE), Memory(clock)
    with pytest.raises(Death):
        # the mark, each record but the key, and that it was moved
        moving(Mortal(source, spent := Lives(len(STATE) + 1)), Mortal(target, spent))
    asyncio.run(target.delete("t1", collection="tokens"))
    asyncio.run(target.delete("r1", collection="refresh"))

    with pytest.raises(StartRefused, match="is not there any more"):
        moving(source, target)

    assert not target.serves()
    assert len(source.whole()) == len(STATE)


def test_what_was_revoked_between_two_attempts_does_not_come_back(clock: Clock) -> None:
    source, target = Memory(clock, *STATE), Memory(clock)
    dying = Lives(5)
    with pytest.raises(Death):
        moving(Mortal(source, dying), Mortal(target, dying))
    assert ("grants", "0123456789abcdef") in target.whole()

    asyncio.run(source.delete("0123456789abcdef", collection="grants"))
    moving(source, target)

    assert ("grants", "0123456789abcdef") not in target.whole()


class Served(Memory):
    """A store on which a server still runs."""

    async def rows(self) -> AsyncIterator[Put]:
        async for put in super().rows():
            yield put
        await self.put("t2", {"gid": "new"}, collection="tokens")


def test_a_server_that_still_runs_is_noticed_and_nothing_is_lost(clock: Clock) -> None:
    source, target = Served(clock, *STATE), Memory(clock)

    with pytest.raises(StartRefused, match="stop every server"):
        moving(source, target)

    assert source.serves()
    assert not target.serves()
    assert not target.is_new()


OTHER = Put("owner", "key", {"key": "cd" * 32})


@pytest.mark.parametrize(
    ("source", "target", "says"),
    [
        ([], [], "nothing to move"),
        ([Put("owner", "key", {"moved": "the file in /state"})], [], "went to the file in /state"),
        ([Put("owner", "key", {"moving": "ab"})], [], "nothing to move"),
        ([Put("owner", "key", {"moved": "b", "key": "ab" * 32})], [], "on its way to b"),
        (STATE, [OTHER], "state of another server"),
        (STATE, [Put("tokens", "t", {})], "state of another server"),
        (STATE, [Put("owner", "key", {"moving": "ab"})], "state of another server"),
        (STATE, [Put("owner", "key", {"moved": "b", "key": "cd" * 32})], "of another server"),
        (STATE, STATE[:1], "same store by another name"),
    ],
    ids=str,
)
def test_a_move_that_cannot_be_meant_is_one_sentence_and_changes_nothing(
    clock: Clock, source: list[Put], target: list[Put], says: str
) -> None:
    here, there = Memory(clock, *source), Memory(clock, *target)
    before = here.whole(), there.whole()

    for attempt in (
        lambda: moving(here, there),
        lambda: asyncio.run(survey(here, there, "the Redis at a:1/0")),
    ):
        with pytest.raises(StartRefused, match=says) as refused:
            attempt()
        assert "\n" not in str(refused.value)

    assert (here.whole(), there.whole()) == before


def test_a_survey_counts_and_writes_nothing(clock: Clock) -> None:
    source, target = Memory(clock, *STATE), Memory(clock)
    before = source.whole()

    found = asyncio.run(survey(source, target, "there"))

    assert found == {"owner": 1, "grants": 2, "tokens": 1, "refresh": 1, "codes": 1}
    assert (source.whole(), target.whole()) == (before, {})


def test_how_far_it_has_come_is_told(clock: Clock) -> None:
    many = [Put("tokens", f"n{number}", {}) for number in range(450)]
    source, target, told = Memory(clock, *STATE, *many), Memory(clock), []

    asyncio.run(move(source, target, "there", lambda *far: told.append(far)))

    assert told == [(0, 456), (200, 456), (400, 456), (456, 456)]


def test_the_state_file_is_opened_for_one_process_alone(tmp_path: Path) -> None:
    async def twice() -> None:
        async with file_store(StateDir(tmp_path)) as store:
            await store.put("k", {"a": 1}, collection="c")
            with pytest.raises(StartRefused, match="stop it"):
                async with file_store(StateDir(tmp_path)):
                    pass
        async with file_store(StateDir(tmp_path)) as store:
            assert await store.get("k", collection="c") == {"a": 1}

    asyncio.run(twice())


def test_a_state_of_an_earlier_kind_is_left_to_the_server(tmp_path: Path) -> None:
    (tmp_path / "oauth_tokens.json").write_text('{"clients": {}}')

    async def once() -> None:
        async with file_store(StateDir(tmp_path)):
            pass

    with pytest.raises(StartRefused, match="start the server on it once"):
        asyncio.run(once())
    assert (tmp_path / "oauth_tokens.json").read_text() == '{"clients": {}}'
