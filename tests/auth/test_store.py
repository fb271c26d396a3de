"""The store in memory and on one disk: what it keeps, how long, and when that is safe."""

from __future__ import annotations

import asyncio
import errno
import gc
import json
import logging
import weakref
from decimal import Decimal
from typing import Any

import pytest

from personal_auth.background import in_background
from personal_auth.errors import NotOnDisk, StartRefused, StateDirLost, StoreUnavailable
from personal_auth.snapshot import Row
from personal_auth.store import Put, SnapshotStore
from personal_auth.version import __version__
from personal_auth.writing import cause
from tests.support.disk import Disk, in_a_loop, until
from tests.support.site import Clock

FULL = OSError(errno.ENOSPC, "No space left on device")


@pytest.fixture
def disk() -> Disk:
    return Disk()


@pytest.fixture
def store(disk: Disk, clock: Clock) -> SnapshotStore:
    return SnapshotStore(disk, clock=clock, later=0.02)


def stored(disk: Disk) -> SnapshotStore:
    """Returns a store that starts from the newest file."""
    again = SnapshotStore(disk)
    again.load(json.loads(disk.files[-1]))
    return again


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "personal_auth"]


# What is kept


@in_a_loop
async def test_a_record_is_there_and_on_disk_once_put_returns(
    store: SnapshotStore, disk: Disk
) -> None:
    await store.put("k", {"a": [1, None, "x"]}, collection="c")

    assert await store.get("k", collection="c") == {"a": [1, None, "x"]}
    assert disk.rows == {"c": {"k": {"value": {"a": [1, None, "x"]}}}}


@in_a_loop
async def test_what_was_not_put_is_not_there(store: SnapshotStore) -> None:
    await store.put("k", {"a": 1}, collection="c")

    assert await store.get("other", collection="c") is None
    assert await store.get("k", collection="other") is None
    assert await store.get("k") is None
    assert await store.all_keys("other") == []
    assert store.values("other") == []


@in_a_loop
async def test_a_record_without_a_collection_has_a_place_of_its_own(store: SnapshotStore) -> None:
    await store.put("k", {"a": 1})
    await store.put("k", {"a": 2}, collection="c")

    found = await store.get("k"), await store.get("k", collection="c")
    keys = await store.all_keys(""), await store.all_keys("c")
    deleted = await store.delete("k"), await store.delete("k")

    assert found == ({"a": 1}, {"a": 2})
    assert keys == (["k"], ["k"])
    assert deleted == (True, False)
    assert await store.get("k", collection="c") == {"a": 2}


@in_a_loop
async def test_a_second_put_replaces_the_record_and_its_time(
    store: SnapshotStore, clock: Clock, disk: Disk
) -> None:
    await store.put("k", {"a": 1}, collection="c", ttl=10)
    await store.put("k", {"a": 2}, collection="c")

    clock.advance(11)

    assert await store.get("k", collection="c") == {"a": 2}
    assert disk.rows == {"c": {"k": {"value": {"a": 2}}}}


@in_a_loop
async def test_altering_what_was_given_does_not_alter_the_record(store: SnapshotStore) -> None:
    given = {"a": 1}
    await store.put("k", given, collection="c")

    given["a"] = 2

    assert store.peek("c", "k") == {"a": 1}


@in_a_loop
async def test_the_keys_and_values_of_a_collection_can_be_named(store: SnapshotStore) -> None:
    for number in range(3):
        await store.put(f"k{number}", {"n": number}, collection="c")

    assert await store.all_keys("c") == ["k0", "k1", "k2"]
    assert store.values("c") == [{"n": 0}, {"n": 1}, {"n": 2}]


@pytest.mark.parametrize(
    "key", ["", '"', "\\", "a:b", "{", "ü", "\ud800", "\u2028", "line\nbreak", "\x00"], ids=ascii
)
@in_a_loop
async def test_odd_names_and_values_survive_a_restart(
    store: SnapshotStore, disk: Disk, key: str
) -> None:
    await store.put(key, {key: key}, collection=key)

    again = stored(disk)

    assert again.peek(key, key) == {key: key}


@in_a_loop
async def test_a_restart_brings_back_every_record_with_its_time(
    store: SnapshotStore, disk: Disk, clock: Clock
) -> None:
    await store.put("short", {"a": 1}, collection="c", ttl=10)
    await store.put("long", {"a": 2}, collection="c")
    await store.put("k", {"a": 3}, collection="d", ttl=20)

    again = SnapshotStore(disk, clock=clock)
    again.load(json.loads(disk.files[-1]))
    before = again.values("c"), again.values("d")
    clock.advance(10)
    after = again.values("c"), again.values("d")

    assert before == ([{"a": 1}, {"a": 2}], [{"a": 3}])
    assert after == ([{"a": 2}], [{"a": 3}])
    assert json.loads(again.dump()) == {
        "format": "personal-auth",
        "version": 1,
        "writer": __version__,
        "rows": {
            "c": {"long": {"value": {"a": 2}}},
            "d": {"k": {"value": {"a": 3}, "expires": 1_800_000_020.0}},
        },
    }


def test_the_file_ends_with_a_newline(store: SnapshotStore) -> None:
    assert store.dump().endswith(b"}}\n")


def test_loading_replaces_what_was_there(store: SnapshotStore) -> None:
    store.put_at_start([Put("c", "old", {})])
    store.load({"format": "personal-auth", "version": 1, "rows": {"c": {"new": {"value": {}}}}})

    assert store.peek("c", "old") is None
    assert store.peek("c", "new") == {}


def test_loading_nothing_empties_the_store(store: SnapshotStore) -> None:
    store.put_at_start([Put("c", "old", {})])

    store.load(None)

    assert store.peek("c", "old") is None


ROW = {"value": {}}


@pytest.mark.parametrize(
    "rows",
    [
        None,
        [],
        {"c": None},
        {"c": []},
        {"c": {"k": None}},
        {"c": {"k": []}},
        {"c": {"k": {}}},
        {"c": {"k": {"value": None}}},
        {"c": {"k": {"value": []}}},
        {"c": {"k": {"value": [["a", 1]]}}},
        {"c": {"k": {**ROW, "expires": "1"}}},
        {"c": {"k": {**ROW, "expires": True}}},
        {"c": {"k": {**ROW, "expires": 10**400}}},
        {"c": {"k": {**ROW, "expires": float("inf")}}},
        {"c": {"k": {"value": {"a": float("nan")}}}},
    ],
    ids=str,
)
def test_a_damaged_row_is_refused_and_nothing_of_the_file_believed(
    store: SnapshotStore, rows: object
) -> None:
    whole = {"a": {"good": ROW}, **rows} if isinstance(rows, dict) else rows

    with pytest.raises(StartRefused, match="damaged and was left as it is"):
        store.load({"format": "personal-auth", "version": 1, "rows": whole})

    assert store.peek("a", "good") is None


def test_a_damaged_file_does_not_leave_the_records_from_before(store: SnapshotStore) -> None:
    store.put_at_start([Put("c", "old", {})])

    with pytest.raises(StartRefused):
        store.load({"format": "personal-auth", "version": 1})

    assert store.peek("c", "old") is None


@pytest.mark.parametrize("state", [[], "text", 1, {}, {"format": "other", "version": 1}], ids=str)
def test_a_foreign_document_is_refused(store: SnapshotStore, state: object) -> None:
    with pytest.raises(StartRefused, match="was not written by this server and was left as it is"):
        store.load(state)


@pytest.mark.parametrize("value", [{"a": float("nan")}, {"a": float("inf")}, {"a": object()}])
@in_a_loop
async def test_what_is_no_json_is_not_taken(
    store: SnapshotStore, disk: Disk, value: dict[str, Any]
) -> None:
    await store.put("k", {"a": 1}, collection="c")

    with pytest.raises((ValueError, TypeError)):
        await store.put("k", value, collection="c")
    await store.flush()

    assert store.peek("c", "k") == {"a": 1}
    assert len(disk.files) == 1


# How long it lives


@pytest.mark.parametrize("ttl", [10, 10.0, Decimal(10)], ids=repr)
@in_a_loop
async def test_a_record_lives_until_its_time_and_not_at_it(
    store: SnapshotStore, clock: Clock, ttl: Any
) -> None:
    await store.put("k", {"a": 1}, collection="c", ttl=ttl)

    clock.advance(9.5)
    before = await store.get("k", collection="c"), await store.all_keys("c"), store.values("c")
    clock.advance(0.5)
    after = await store.get("k", collection="c"), await store.all_keys("c"), store.values("c")

    assert before == ({"a": 1}, ["k"], [{"a": 1}])
    assert after == (None, [], [])


@pytest.mark.parametrize("ttl", [0, 0.0, -1])
@in_a_loop
async def test_a_time_of_nothing_is_over_at_once(store: SnapshotStore, ttl: float) -> None:
    await store.put("k", {}, collection="c", ttl=ttl)

    assert await store.get("k", collection="c") is None


@in_a_loop
async def test_a_record_without_a_time_lives_for_ever(store: SnapshotStore, clock: Clock) -> None:
    await store.put("k", {}, collection="c")

    clock.advance(100 * 365 * 86400)

    assert await store.get("k", collection="c") == {}


@in_a_loop
async def test_what_is_over_leaves_the_file_with_the_next_write(
    store: SnapshotStore, disk: Disk, clock: Clock
) -> None:
    await store.put("over", {}, collection="c", ttl=10)
    await store.put("live", {}, collection="c", ttl=30)

    clock.advance(10)
    await store.put("k", {}, collection="d")

    assert sorted(disk.rows["c"]) == ["live"]


@in_a_loop
async def test_a_clock_that_goes_back_ends_nothing_early_and_loses_nothing(
    store: SnapshotStore, clock: Clock
) -> None:
    await store.put("k", {}, collection="c", ttl=10)
    clock.advance(-3600)
    await store.put("later", {}, collection="c", ttl=10)

    early = await store.all_keys("c")
    clock.advance(11)
    later = await store.all_keys("c")
    clock.advance(3600)

    assert (early, later, await store.all_keys("c")) == (["k", "later"], ["k"], [])


# Claims


@in_a_loop
async def test_a_record_is_deleted_exactly_once(store: SnapshotStore, disk: Disk) -> None:
    await store.put("k", {}, collection="c")

    claims = await asyncio.gather(*(store.delete("k", collection="c") for _ in range(20)))

    assert claims.count(True) == 1
    assert disk.rows == {"c": {}}


@in_a_loop
async def test_deleting_what_is_over_claims_nothing(store: SnapshotStore, clock: Clock) -> None:
    await store.put("k", {}, collection="c", ttl=10)

    clock.advance(10)

    assert not await store.delete("k", collection="c")


@in_a_loop
async def test_deleting_what_is_not_there_claims_nothing_and_writes_nothing(
    store: SnapshotStore, disk: Disk
) -> None:
    claims = await store.delete("k"), await store.delete("k", collection="c")

    assert claims == (False, False)
    assert disk.attempts == 0


@in_a_loop
async def test_a_claim_holds_although_the_record_ends_while_it_is_written(
    store: SnapshotStore, disk: Disk, clock: Clock
) -> None:
    await store.put("k", {}, collection="c", ttl=10)

    disk.hold()
    claim = asyncio.create_task(store.delete("k", collection="c"))
    await disk.reached()
    clock.advance(10)
    disk.let_go()

    assert await claim


# When it is safe


@in_a_loop
async def test_nobody_is_answered_before_the_change_is_on_disk(
    store: SnapshotStore, disk: Disk
) -> None:
    disk.hold()
    put = asyncio.create_task(store.put("k", {}, collection="c"))
    await disk.reached()
    delete = asyncio.create_task(store.delete("k", collection="c"))
    again = asyncio.create_task(store.delete("k", collection="c"))
    flush = asyncio.create_task(store.flush())
    waiting = asyncio.gather(put, delete, again, flush)
    await asyncio.wait([waiting], timeout=0.05)
    answered = [task.done() for task in (put, delete, again, flush)]
    disk.let_go()

    assert answered == [False] * 4
    assert await waiting == [None, True, False, None]
    assert disk.rows == {"c": {}}


@in_a_loop
async def test_one_write_serves_all_who_wait_and_one_more_those_who_came_during_it(
    store: SnapshotStore, disk: Disk
) -> None:
    disk.hold()
    first = [asyncio.create_task(store.put(f"a{n}", {})) for n in range(50)]
    await disk.reached()
    second = [asyncio.create_task(store.put(f"b{n}", {})) for n in range(50)]
    await asyncio.sleep(0)
    disk.let_go()
    await asyncio.gather(*first, *second)

    assert len(disk.files) == 2
    assert len(disk.rows[""]) == 100
    assert disk.most_at_once == 1


@in_a_loop
async def test_nothing_is_written_when_nothing_changed(store: SnapshotStore, disk: Disk) -> None:
    await store.flush()
    await store.put("k", {})
    await store.flush()
    await store.close()

    assert disk.attempts == 1


def test_records_can_be_written_before_there_is_a_loop(store: SnapshotStore, disk: Disk) -> None:
    store.put_at_start([Put("c", "k", {"a": 1}), Put("c", "l", {"a": 2}, 10)])

    asyncio.run(store.flush())

    assert store.values("c") == [{"a": 1}, {"a": 2}]
    assert len(disk.files) == 1
    assert sorted(disk.rows["c"]) == ["k", "l"]


def test_a_start_that_cannot_write_says_so_and_counts_nothing_as_written(
    store: SnapshotStore, disk: Disk
) -> None:
    disk.error = FULL
    with pytest.raises(OSError, match="No space left"):
        store.put_at_start([Put("c", "k", {})])

    disk.error = None
    asyncio.run(store.flush())

    assert disk.rows == {"c": {"k": {"value": {}}}}


@in_a_loop
async def test_a_change_that_nobody_waits_for_is_there_at_once_and_on_disk_a_little_later(
    store: SnapshotStore, disk: Disk
) -> None:
    for number in range(10):
        store.put_soon(Put("c", str(number), {}, 10))
    there, written = len(store.values("c")), disk.attempts
    await until(lambda: disk.files != [])
    await asyncio.sleep(0.05)

    assert (there, written) == (10, 0)
    assert len(disk.rows["c"]) == 10
    assert disk.attempts == 1


@in_a_loop
async def test_a_second_change_that_nobody_waits_for_is_written_as_well(
    store: SnapshotStore, disk: Disk
) -> None:
    store.put_soon(Put("c", "a", {}))
    await until(lambda: len(disk.files) == 1)
    store.put_soon(Put("c", "b", {}))
    await until(lambda: len(disk.files) == 2)

    assert sorted(disk.rows["c"]) == ["a", "b"]


# When a write fails


@in_a_loop
async def test_whoever_changes_something_is_refused_until_a_write_succeeds(
    store: SnapshotStore, disk: Disk
) -> None:
    await store.put("old", {}, collection="c")
    disk.error = FULL
    refused = 0
    for call in (
        lambda: store.put("k", {}, collection="c"),
        lambda: store.delete("old", collection="c"),
        lambda: store.delete("old", collection="c"),
        lambda: store.delete("never there", collection="c"),
        lambda: store.flush(),
    ):
        with pytest.raises(StoreUnavailable) as told:
            await call()
        refused += told.value.__cause__ is FULL
    disk.error = None

    assert refused == 5
    assert not await store.delete("never there", collection="c")
    assert disk.rows == {"c": {"k": {"value": {}}}}


@in_a_loop
async def test_what_gives_is_taken_back_and_what_was_there_before_is_there_again(
    store: SnapshotStore, disk: Disk
) -> None:
    await store.put_together([Put("c", "right", {"all": False}), Put("c", "kept", {"n": 1})])
    disk.error = FULL

    with pytest.raises(NotOnDisk):
        await store.put_together(
            [
                Put("c", "right", {"all": True}, gives=True),
                Put("c", "right", {"all": True, "again": True}, gives=True),
                Put("c", "token", {}, gives=True),
                Put("c", "kept", {"n": 2}),
            ]
        )
    after = [await store.get(key, collection="c") for key in ("right", "token", "kept")]
    disk.error = None
    await store.flush()

    assert after == [{"all": False}, None, {"n": 2}]
    assert disk.rows == {"c": {"right": {"value": {"all": False}}, "kept": {"value": {"n": 2}}}}


@in_a_loop
async def test_what_came_after_a_gift_is_not_taken_back_with_it(
    store: SnapshotStore, disk: Disk
) -> None:
    await store.put("ended", {}, collection="c")
    disk.error = FULL
    disk.hold()
    gifts = [Put("c", key, {"all": True}, gives=True) for key in ("narrowed", "ended", "late")]
    given = asyncio.ensure_future(store.put_together(gifts[:2]))
    await disk.reached()
    store.put_soon(Put("c", "narrowed", {"all": False}))
    store.delete_soon("c", "ended")
    late = asyncio.ensure_future(store.put_together(gifts[2:]))
    await asyncio.sleep(0)
    disk.let_go()
    refused = await asyncio.gather(given, late, return_exceptions=True)

    assert [type(error) for error in refused] == [NotOnDisk, NotOnDisk]
    assert await store.get("narrowed", collection="c") == {"all": False}
    assert await store.get("ended", collection="c") is None
    assert await store.get("late", collection="c") is None


@in_a_loop
async def test_a_gift_that_is_on_disk_stays_when_a_later_write_fails(
    store: SnapshotStore, disk: Disk
) -> None:
    await store.put_together([Put("c", "k", {"n": 1}, gives=True)])
    disk.error = FULL
    with pytest.raises(NotOnDisk):
        await store.put_together([Put("c", "l", {}, gives=True)])

    assert await store.get("k", collection="c") == {"n": 1}


@in_a_loop
async def test_reading_goes_on_while_nothing_can_be_written(
    store: SnapshotStore, disk: Disk
) -> None:
    await store.put("k", {"a": 1}, collection="c")
    disk.error = FULL
    with pytest.raises(StoreUnavailable):
        await store.put("l", {}, collection="c")

    assert await store.get("k", collection="c") == {"a": 1}
    assert await store.all_keys("c") == ["k", "l"]


@in_a_loop
async def test_a_failed_write_is_tried_again_by_itself_until_it_succeeds(
    store: SnapshotStore, disk: Disk
) -> None:
    disk.error = FULL
    with pytest.raises(StoreUnavailable):
        await store.put("k", {}, collection="c")
    await until(lambda: disk.attempts >= 4)
    disk.error = None
    await until(lambda: disk.files != [])
    attempts = disk.attempts
    await asyncio.sleep(0.06)

    assert disk.rows == {"c": {"k": {"value": {}}}}
    assert disk.attempts == attempts


@in_a_loop
async def test_a_failure_is_logged_once_with_its_reason_and_so_is_its_end(
    store: SnapshotStore, disk: Disk, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    for error in (FULL, FULL, OSError(errno.EROFS, "Read-only file system"), None, FULL):
        disk.error = error
        await asyncio.gather(store.put("k", {}), return_exceptions=True)

    assert lines(caplog) == [
        "[state_not_available] Nothing can be granted. reason=No_space_left_on_device",
        "[state_not_available] Nothing can be granted. reason=Read-only_file_system",
        "[state_available_again]",
        "[state_not_available] Nothing can be granted. reason=No_space_left_on_device",
    ]
    assert [record.levelname for record in caplog.records].count("WARNING") == 3


@in_a_loop
async def test_a_lost_directory_is_logged_with_what_to_do(
    store: SnapshotStore, disk: Disk, caplog: pytest.LogCaptureFixture
) -> None:
    disk.error = StateDirLost("It is gone: put it back.")
    await asyncio.gather(store.put("k", {}), return_exceptions=True)

    assert lines(caplog) == ["[state_not_available] It is gone: put it back. reason=StateDirLost"]


def test_the_text_of_an_unknown_failure_is_never_told() -> None:
    told = [cause(error) for error in (FULL, ValueError("postgres://user:SECRET@host"), OSError())]

    assert told == ["No space left on device", "ValueError", "OSError"]


@in_a_loop
async def test_whoever_gives_up_waiting_does_not_stop_the_write(
    store: SnapshotStore, disk: Disk
) -> None:
    disk.hold()
    given_up = asyncio.create_task(store.put("a", {}, collection="c"))
    await disk.reached()
    other = asyncio.create_task(store.flush())
    await asyncio.sleep(0)
    given_up.cancel()
    await asyncio.wait([given_up])
    disk.let_go()
    await other

    assert given_up.cancelled()
    assert disk.attempts == 1
    assert disk.rows == {"c": {"a": {"value": {}}}}


@in_a_loop
async def test_a_write_that_fails_with_nobody_waiting_is_no_error_of_the_loop(
    store: SnapshotStore, disk: Disk
) -> None:
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, told: complaints.append(told))
    disk.error = FULL
    disk.hold()
    given_up = asyncio.create_task(store.put("a", {}, collection="c"))
    await disk.reached()
    given_up.cancel()
    await asyncio.wait([given_up])
    disk.let_go()
    await until(lambda: disk.attempts >= 2)
    await store.close()
    gc.collect()

    assert complaints == []


# The end, and another beginning


@in_a_loop
async def test_closing_writes_what_nobody_waited_for(store: SnapshotStore, disk: Disk) -> None:
    store.put_soon(Put("c", "k", {}))

    await store.close()
    await asyncio.sleep(0.05)

    assert disk.rows == {"c": {"k": {"value": {}}}}
    assert disk.attempts == 1


@in_a_loop
async def test_closing_waits_for_the_write_under_way_and_for_what_comes_during_it(
    store: SnapshotStore, disk: Disk
) -> None:
    disk.hold()
    put = asyncio.create_task(store.put("a", {}, collection="c"))
    await disk.reached()
    closing = asyncio.create_task(store.close())
    await asyncio.sleep(0)
    store.put_soon(Put("c", "b", {}))
    await asyncio.wait([closing], timeout=0.03)
    early = closing.done()
    disk.let_go()
    await closing

    assert not early
    assert put.done()
    assert sorted(disk.rows["c"]) == ["a", "b"]


@in_a_loop
async def test_a_store_that_was_closed_can_be_used_again(store: SnapshotStore, disk: Disk) -> None:
    store.put_soon(Put("c", "a", {}))
    await store.close()

    store.put_at_start([])
    store.put_soon(Put("c", "b", {}))
    await until(lambda: len(disk.files) == 3)

    assert sorted(disk.rows["c"]) == ["a", "b"]


@in_a_loop
async def test_closing_with_a_full_disk_ends_and_tries_no_more(disk: Disk, clock: Clock) -> None:
    store = SnapshotStore(disk, clock=clock, later=0)
    disk.error = FULL
    store.put_soon(Put("c", "k", {}))

    await store.close()
    attempts = disk.attempts
    await asyncio.sleep(0.05)

    assert attempts == disk.attempts == 1


def test_a_store_can_be_used_by_one_loop_after_another(store: SnapshotStore, disk: Disk) -> None:
    async def leave_something() -> None:
        store.put_soon(Put("c", "a", {}))

    async def come_back() -> None:
        store.put_soon(Put("c", "b", {}))
        await until(lambda: disk.files != [])

    asyncio.run(leave_something())  # its timer never fires
    asyncio.run(come_back())

    assert sorted(disk.rows["c"]) == ["a", "b"]


def test_a_write_that_its_loop_left_behind_never_lands_over_a_newer_one(
    store: SnapshotStore, disk: Disk
) -> None:
    async def leave_a_write_behind() -> None:
        asyncio.create_task(store.put("a", {"n": 1}, collection="c"))  # noqa: RUF006
        await disk.reached()

    async def write_again() -> None:
        put = asyncio.create_task(store.put("a", {"n": 2}, collection="c"))
        await asyncio.sleep(0.03)
        disk.let_go()
        await put

    disk.hold()
    asyncio.run(leave_a_write_behind())
    asyncio.run(write_again())

    assert disk.most_at_once == 1
    assert [json.loads(raw)["rows"]["c"]["a"]["value"]["n"] for raw in disk.files] == [1, 2]


def test_a_loop_that_stopped_in_the_middle_of_a_write_does_not_block_the_next(
    store: SnapshotStore, disk: Disk
) -> None:
    async def begin() -> None:
        asyncio.create_task(store.put("a", {}, collection="c"))  # noqa: RUF006
        await disk.reached()

    stopped = asyncio.new_event_loop()
    disk.hold()
    stopped.run_until_complete(begin())
    disk.let_go()
    asyncio.run(asyncio.wait_for(store.put("b", {}, collection="c"), 5))
    left = asyncio.all_tasks(stopped)
    for task in left:
        task.cancel()
    stopped.run_until_complete(asyncio.gather(*left, return_exceptions=True))
    stopped.close()

    assert sorted(disk.rows["c"]) == ["a", "b"]


# In the background


@in_a_loop
async def test_a_call_that_nobody_waits_for_is_made_and_may_fail(disk: Disk) -> None:
    done: list[str] = []
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, told: complaints.append(told))

    async def works() -> None:
        await asyncio.sleep(0.01)
        done.append("worked")

    async def fails() -> None:
        done.append("failed")
        raise StoreUnavailable

    in_background(works())
    in_background(fails())
    gc.collect()
    await until(lambda: len(done) == 2)
    await asyncio.sleep(0)
    gc.collect()

    assert done == ["failed", "worked"]
    assert complaints == []


@in_a_loop
async def test_a_call_that_nobody_waits_for_is_not_forgotten_while_it_waits() -> None:
    loop, done = asyncio.get_running_loop(), asyncio.Event()
    answers: weakref.WeakSet[asyncio.Future[None]] = weakref.WeakSet()

    async def waits() -> None:
        answer = loop.create_future()
        answers.add(answer)
        await answer
        done.set()

    in_background(waits())
    await until(lambda: len(answers) == 1)
    gc.collect()  # nothing but the call itself knows what it waits for
    for answer in [*answers]:
        answer.set_result(None)
    await asyncio.wait_for(done.wait(), 5)

    assert done.is_set()


def test_no_record_is_shown_by_a_repr() -> None:
    shown = repr([Row.of("k", {"key": "SECRET"}, None), Put("c", "k", {"key": "SECRET"})])

    assert "SECRET" not in shown
