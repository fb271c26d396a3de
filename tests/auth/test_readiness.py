"""Whether the state can be written: asked of the store by anybody, and yet seldom."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any, SupportsFloat

import pytest

from personal_auth.errors import StoreUnavailable
from personal_auth.limits import Limits
from personal_auth.readiness import Readiness
from personal_auth.records import Records
from personal_auth.store import Put
from tests.support.disk import in_a_loop


class Moody:
    """A store that reads, and writes as its mood is."""

    def __init__(self) -> None:
        self.writes = 0
        self.mood = "well"

    async def get(self, key: str, *, collection: str | None = None) -> dict[str, Any] | None:
        return None

    async def put(
        self,
        key: str,
        value: Mapping[str, Any],
        *,
        collection: str | None = None,
        ttl: SupportsFloat | None = None,
    ) -> None:
        self.writes += 1
        if self.mood == "read-only":
            raise OSError("a replica does not take writes")
        while self.mood == "stubborn":
            try:
                await asyncio.sleep(0.05)
            except asyncio.CancelledError:
                continue

    async def delete(self, key: str, *, collection: str | None = None) -> bool:
        return False


@pytest.fixture
def store() -> Moody:
    return Moody()


def readiness(store: Moody, *, kept: float = 60.0) -> Readiness:
    limits = Limits(readiness_seconds=kept, readiness_wait_seconds=10)
    return Readiness(Records(store).prove, limits)


async def is_ready(readiness: Readiness) -> bool:
    try:
        await readiness.check()
    except StoreUnavailable:
        return False
    return True


@in_a_loop
async def test_a_thousand_questions_in_a_moment_are_one_write(store: Moody) -> None:
    asked = readiness(store)

    answers = await asyncio.gather(*(is_ready(asked) for _ in range(500)))
    for _ in range(500):
        answers.append(await is_ready(asked))

    assert (set(answers), store.writes) == ({True}, 1)


@in_a_loop
async def test_a_store_that_answers_reads_and_refuses_writes_is_not_ready(store: Moody) -> None:
    asked = readiness(store, kept=0.0)
    store.mood = "read-only"

    refused = await is_ready(asked)
    store.mood = "well"
    back = await is_ready(asked)

    assert (refused, back) == (False, True)


@in_a_loop
async def test_a_store_that_hangs_is_not_ready_in_bounded_time_and_is_asked_once(
    store: Moody,
) -> None:
    limits = Limits(readiness_seconds=0.0, readiness_wait_seconds=0.2)
    asked = Readiness(Records(store, call_seconds=60).prove, limits)
    store.mood = "stubborn"
    began = time.monotonic()

    answers = await asyncio.gather(*(is_ready(asked) for _ in range(100)))
    took = time.monotonic() - began
    store.mood = "well"
    while not await is_ready(asked):
        await asyncio.sleep(0.01)

    assert (set(answers), store.writes) == ({False}, 1)
    assert took < 5


@in_a_loop
async def test_a_driver_that_does_not_give_up_when_it_is_told_to_is_not_waited_for(
    store: Moody,
) -> None:
    records = Records(store, call_seconds=0.1)
    store.mood = "stubborn"
    began = time.monotonic()

    with pytest.raises(StoreUnavailable):
        await records.put(Put("c", "k", {}))
    took = time.monotonic() - began
    store.mood = "well"

    assert took < 5


@in_a_loop
async def test_it_is_said_once_that_the_store_is_back(
    store: Moody, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "personal_auth")
    asked = readiness(store, kept=0.0)
    store.mood = "read-only"
    await is_ready(asked)
    store.mood = "well"

    for _ in range(3):
        assert await is_ready(asked)

    assert [record.getMessage() for record in caplog.records] == [
        "[state_not_available] reason=OSError",
        "[state_available_again]",
    ]
