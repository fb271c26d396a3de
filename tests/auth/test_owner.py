"""Is this the owner? Passwords, sessions and known browsers."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, SupportsFloat, TypeVar

import pytest
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from hypothesis import given
from hypothesis import strategies as st

from personal_auth import Limits, PersonalAuthProvider, owner
from personal_auth.errors import StoreUnavailable, TooManyAttempts, WrongPassword
from personal_auth.identity import Identity
from personal_auth.owner import (
    ALPHABET,
    Owner,
    browser_hash,
    check_configured,
    generate_password,
    hash_password,
    is_hash,
    is_password,
)
from personal_auth.records import Records
from personal_auth.sealing import Sealer, digest
from personal_auth.store import KeyValue, SnapshotStore
from tests.support.site import PASSWORD, URL, App, Clock, Site, Visitor, answer_of, approve
from tests.support.site import ticket as ticket_of

T = TypeVar("T")

HERE, THERE = "203.0.113.9", "198.51.100.7"
HOUR = 60 * 60  # seconds
DAY = 24 * HOUR


def cheap(password: str) -> str:
    """Returns a complete hash that takes no time to check."""
    kdf = Argon2id(salt=b"s" * 16, length=32, iterations=1, lanes=1, memory_cost=8)
    return kdf.derive_phc_encoded(password.encode())


class House:
    """An owner without a server: what is stored, what is proven, and a clock."""

    def __init__(self, clock: Clock, store: KeyValue | None = None) -> None:
        self.clock, self.proofs = clock, 0
        self.written: list[bytes] = []
        self.snapshot = SnapshotStore(self.written.append, clock=clock)
        self.records = Records(store or self.snapshot)

    def owner(
        self, configured: str | None = cheap(PASSWORD), key: bytes = b"k" * 32, **limits: Any
    ) -> Owner:
        """Starts a server on the state; a second call is a restart."""
        return Owner(
            self.records,
            lambda: Sealer(key),
            Identity.of(URL),
            Limits(**limits),
            clock=self.clock,
            configured=configured,
            proven=self._prove,
        )

    def _prove(self) -> None:
        self.proofs += 1

    @property
    def stored(self) -> dict[str, Any]:
        """The rows that are on disk."""
        rows: dict[str, Any] = json.loads(self.written[-1])["rows"]
        return rows


@pytest.fixture
def house(clock: Clock) -> House:
    return House(clock)


def run(work: Awaitable[T]) -> T:
    async def bounded() -> T:
        return await asyncio.wait_for(work, 10)

    return asyncio.run(bounded())


async def answer(
    owner: Owner, password: str, address: str = HERE, device: str | None = None
) -> int:
    """Tries a password; returns the status that a browser would see."""
    try:
        await owner.sign_in(password, address, device)
    except (WrongPassword, TooManyAttempts) as error:
        return error.status
    return 200


# Passwords


def test_a_generated_password_has_a_hundred_random_bits_in_four_groups() -> None:
    passwords = [generate_password() for _ in range(500)]

    assert len(ALPHABET) == len(set(ALPHABET)) == 32  # 5 bits a character
    assert len(set(passwords)) == 500
    assert set("".join(passwords)) == {*ALPHABET, "-"}
    assert all([len(g) for g in p.split("-")] == [5, 5, 5, 5] for p in passwords)


def test_no_character_of_a_generated_password_looks_like_another() -> None:
    assert not set("0o1lI") & set(ALPHABET)


def test_a_hash_says_how_it_was_made_and_has_its_own_salt() -> None:
    one, other = hash_password(PASSWORD), hash_password(PASSWORD)

    assert one.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert len(one.split("$")[4]) == 22  # 16 bytes
    assert one != other
    assert is_hash(one)


def test_a_hash_with_a_given_salt_can_be_made_again() -> None:
    assert hash_password(PASSWORD, b"s" * 16) == hash_password(PASSWORD, b"s" * 16)
    assert hash_password(PASSWORD, b"s" * 16) != hash_password(PASSWORD, b"t" * 16)


HASH = "$argon2id$v=19$m=19456,t=2,p=1$MDEyMzQ1Njc4OWFiY2RlZg$" + "A" * 43


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("argon2id", "argon2i"),
        ("argon2id", "argon2d"),
        ("v=19", "v=16"),
        ("$v=19", ""),
        ("m=19456", "m=07"),
        ("m=19456", "m=7"),  # less than the algorithm needs
        ("m=19456,t=2,p=1", "m=31,t=2,p=4"),
        ("m=19456", "m=262145"),  # more than 256 MiB
        ("m=19456", "m=999999999"),
        ("t=2", "t=0"),
        ("t=2", "t=1000"),
        ("p=1", "p=0"),
        ("p=1", "p=100"),
        ("m=19456,t=2", "t=2,m=19456"),
        ("MDEyMzQ1Njc4OWFiY2RlZg", ""),  # what a shell takes for a variable
        ("MDEyMzQ1Njc4OWFiY2RlZg", "MDEyMzQ1Nj"),
        ("MDEyMzQ1Njc4OWFiY2RlZg", "A" * 65),
        ("$MDEyMzQ1Njc4OWFiY2RlZg", ""),
        ("A" * 43, "A" * 42),  # the last character is missing
        ("A" * 43, "A" * 44),
        ("A" * 43, "A" * 42 + "B"),  # no spelling of 32 bytes
        ("A" * 43, "A" * 43 + "\n"),
        ("A" * 43, "A" * 43 + "="),
        ("$argon2id", "x$argon2id"),
        ("MDEy", "MD-y"),
    ],
)
def test_what_is_no_complete_hash_is_refused_and_never_taken_for_a_password(
    old: str, new: str
) -> None:
    text = HASH.replace(old, new, 1)

    assert text != HASH
    assert not is_hash(text)
    with pytest.raises(ValueError, match=r"must be text|looks like a hash that was cut"):
        check_configured(text)


@pytest.mark.parametrize(
    "text",
    [
        HASH,
        HASH.replace("m=19456,t=2,p=1", "m=8,t=1,p=1"),
        HASH.replace("m=19456,t=2,p=1", "m=262144,t=999,p=99"),
        HASH.replace("m=19456,t=2,p=1", "m=32,t=1,p=4"),
        HASH.replace("m=19456,t=2,p=1", "m=90210,t=109,p=10"),
        HASH.replace("m=19456,t=2,p=1", "m=65536,t=35,p=35"),
        HASH.replace("MDEyMzQ1Njc4OWFiY2RlZg", "MDEyMzQ1Njc"),
        HASH.replace("MDEyMzQ1Njc4OWFiY2RlZg", "A" * 64),
    ],
)
def test_a_complete_hash_may_be_configured(text: str) -> None:
    assert is_hash(text)
    assert check_configured(text) == text


def test_a_hash_of_any_bytes_is_complete_and_none_of_its_beginnings_is() -> None:
    for byte in range(256):
        salt, tag = bytes((byte + n) % 256 for n in range(48)), bytes([byte] * 32)
        salt_text, tag_text = (base64.b64encode(raw).rstrip(b"=").decode() for raw in (salt, tag))

        text = f"$argon2id$v=19$m=65536,t=3,p=4${salt_text}${tag_text}"

        assert is_hash(text)
        assert not any(is_hash(text[:length]) for length in range(len(text)))


@given(
    st.builds(
        "$argon2id$v=19$m={},t={},p={}${}${}".format,
        st.integers(1, 64),
        st.integers(1, 2),
        st.integers(1, 4),
        st.text("abzAZ019+/", min_size=11, max_size=64),
        st.text("abzAZ019+/", min_size=42, max_size=42).map(lambda text: text + "8"),
    )
)
def test_whatever_is_taken_for_a_hash_can_be_checked(text: str) -> None:
    if not is_hash(text):
        return

    house = House(Clock())

    assert run(answer(house.owner(text), PASSWORD)) == 403


@pytest.mark.parametrize(
    "text",
    [
        "x",
        "pa$$word",
        "a b",
        "pässwörd",
        "  spaces  ",
        "$argon",
        "argon2id",
        "v=19",
        "=19",
        "19=",
        ",t",
        "t=",
        ",p",
        "p=",
    ],
)
def test_a_plain_password_may_be_configured(text: str) -> None:
    assert check_configured(text) == text


@pytest.mark.parametrize("text", ["", "a\nb", "a\x00b", "\udcff", "tab\there", "\u202e"])
def test_a_password_that_nobody_can_type_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"\Ait must be text of .*, in UTF-8, on one line\Z"):
        check_configured(text)


@pytest.mark.parametrize("mark", ["$argon2", "=19=", ",t=", ",p="])
def test_a_password_that_looks_like_the_rest_of_a_hash_is_refused(mark: str) -> None:
    with pytest.raises(
        ValueError, match=r"\Ait looks like a hash .* quotes, as `password --hash` prints it\Z"
    ):
        check_configured(f"some{mark}thing")


# Signing in


@pytest.mark.parametrize("configured", [PASSWORD, cheap(PASSWORD)], ids=["plain", "a hash"])
def test_only_the_configured_password_proves_the_owner(house: House, configured: str) -> None:
    owner = house.owner(configured, free_attempts=100)
    wrong = ["", " ", PASSWORD + " ", " " + PASSWORD, PASSWORD[:-1], PASSWORD.upper()]
    wrong += [PASSWORD + "\x00", "\x00", "\ud800", "x" * 16_000, configured[:9], HASH, "pässwörd"]

    async def try_all() -> tuple[list[int], int]:
        return [await answer(owner, each) for each in wrong], await answer(owner, PASSWORD)

    assert run(try_all()) == ([403] * len(wrong), 200)
    assert house.proofs == 1


def test_a_wrong_password_is_refused_with_a_sentence(house: House) -> None:
    with pytest.raises(WrongPassword, match=r"\AThat is not the password of this server\.\Z"):
        run(house.owner().sign_in("a guess", HERE, None))


def test_a_configured_hash_is_no_password(house: House) -> None:
    hashed = cheap(PASSWORD)

    assert run(answer(house.owner(hashed), hashed)) == 403


def test_a_stored_password_counts_when_none_is_configured(house: House) -> None:
    async def use() -> list[int]:
        await house.owner(None).change_password("the stored one")
        own, configured = house.owner(None), house.owner(cheap(PASSWORD))
        return [
            await answer(own, "the stored one"),
            await answer(own, PASSWORD),
            await answer(configured, "the stored one"),
            await answer(configured, PASSWORD),
        ]

    assert run(use()) == [200, 403, 403, 200]
    assert list(house.stored["owner"]) == ["password"]
    assert is_hash(house.stored["owner"]["password"]["value"]["hash"])


def test_a_server_without_a_password_opens_for_nobody(house: House) -> None:
    owner = house.owner(None)

    with pytest.raises(
        WrongPassword, match=r"\AThis server has no password yet: start it once\.\Z"
    ):
        run(owner.sign_in("", HERE, None))

    assert house.proofs == 0


@pytest.mark.parametrize("password", ["pässwörd 日本", "\U0001f511 key", "a" * 10_000, "\udcff"])
def test_any_text_may_be_a_password(house: House, password: str) -> None:
    owner = house.owner(None)

    async def use() -> list[int]:
        await owner.change_password(password)
        return [await answer(owner, password), await answer(owner, password + "?")]

    assert run(use()) == [200, 403]


def test_the_log_says_who_tried_and_never_what(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    owner = house.owner()

    async def use() -> None:
        await answer(owner, "a guess", THERE)
        await answer(owner, PASSWORD, HERE)
        await owner.change_password("the next one")

    run(use())

    lines = [record.getMessage() for record in caplog.records if record.name == "personal_auth"]
    assert lines == [
        f"[wrong_password] address={THERE}",
        f"[owner_signed_in] address={HERE}",
        "[password_changed]",
    ]


# Hashing


class Hashing:
    """Stands in for the check of a password; it takes until it is told to go on."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.running = self.most = self.done = 0

    def __call__(self, password: str, reference: str) -> bool:
        self.running += 1
        self.most = max(self.most, self.running)
        assert self.go_on.wait(10), "the event loop never got to answer anybody else"
        self.running -= 1
        self.done += 1
        return password == PASSWORD


@pytest.fixture
def hashing(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hashing]:
    hashing = Hashing()
    monkeypatch.setattr(owner, "is_password", hashing)
    yield hashing
    hashing.go_on.set()


def test_others_are_served_while_a_password_is_hashed(house: House, hashing: Hashing) -> None:
    owner = house.owner()

    async def use() -> int:
        signing_in = asyncio.create_task(answer(owner, PASSWORD))
        while not hashing.running:
            await asyncio.sleep(0)
        hashing.go_on.set()  # only a loop that is free gets here
        return await signing_in

    assert run(use()) == 200


def test_one_password_is_hashed_at_a_time_and_eight_may_wait(
    house: House, hashing: Hashing
) -> None:
    owner = house.owner(free_attempts=100)

    async def use() -> tuple[list[int], int, int]:
        crowd = [asyncio.create_task(answer(owner, "a guess")) for _ in range(8)]
        while not hashing.running:
            await asyncio.sleep(0)
        with pytest.raises(
            TooManyAttempts, match=r"\AToo many sign-ins at this moment: .*\.\Z"
        ) as refusal:
            await owner.sign_in(PASSWORD, HERE, None)
        hashing.go_on.set()
        return (
            await asyncio.gather(*crowd),
            refusal.value.retry_after,
            await answer(owner, PASSWORD),
        )

    assert run(use()) == ([403] * 8, 1, 200)
    assert (hashing.most, hashing.done) == (1, 9)


def test_who_found_no_place_in_the_queue_is_not_counted(house: House, hashing: Hashing) -> None:
    owner = house.owner(waiting_hashes=1)

    async def use() -> tuple[list[int], list[int]]:
        first = asyncio.create_task(answer(owner, "a guess"))
        while not hashing.running:
            await asyncio.sleep(0)
        turned_away = [await answer(owner, "a guess") for _ in range(20)]
        hashing.go_on.set()
        await first
        return turned_away, [await answer(owner, "a guess") for _ in range(5)]

    assert run(use()) == ([429] * 20, [403, 403, 403, 403, 429])


def test_a_check_that_ends_or_fails_leaves_its_one_place_in_the_queue(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(password: str, reference: str) -> bool:
        raise MemoryError

    current = house.owner(waiting_hashes=1)

    async def use() -> list[int]:
        with monkeypatch.context() as broken:
            broken.setattr(owner, "is_password", fail)
            with pytest.raises(MemoryError):
                await current.sign_in(PASSWORD, HERE, None)
        alone = await answer(current, PASSWORD)
        return [alone, *await asyncio.gather(*(answer(current, PASSWORD) for _ in range(3)))]

    assert run(use()) == [200, 200, 429, 429]


def test_a_configured_password_is_hashed_once_however_many_ask_at_once(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[str] = []

    def counting(password: str, salt: bytes | None = None) -> str:
        threads.append(threading.current_thread().name)
        return cheap(password)

    monkeypatch.setattr(owner, "hash_password", counting)
    current = house.owner(PASSWORD)

    async def use() -> list[int]:
        return await asyncio.gather(*(answer(current, PASSWORD) for _ in range(5)))

    assert run(use()) == [200] * 5
    assert len(threads) == 1
    assert threads[0].startswith("argon2id")


def test_a_new_password_is_hashed_beside_the_event_loop(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[str] = []
    monkeypatch.setattr(
        owner, "hash_password", lambda _: threads.append(threading.current_thread().name) or HASH
    )

    run(house.owner(None).change_password("the next one"))

    assert [name.partition("_")[0] for name in threads] == ["argon2id"]


# Waits


def test_wrong_passwords_make_strangers_wait_and_no_known_browser(house: House) -> None:
    owner = house.owner()

    async def use() -> tuple[list[int], int, int]:
        device = await owner.devices.open()
        flood = [await answer(owner, "a guess") for _ in range(20)]
        return (
            flood,
            await answer(owner, PASSWORD, THERE),
            await answer(owner, PASSWORD, HERE, device),
        )

    flood, stranger, known = run(use())
    assert flood == [403] * 5 + [429] * 15
    assert (stranger, known) == (429, 200)


def test_the_right_password_does_not_help_during_a_wait(house: House, clock: Clock) -> None:
    owner = house.owner()

    async def use() -> list[int]:
        for _ in range(5):
            await answer(owner, "a guess")
        during = await answer(owner, PASSWORD)
        clock.advance(1)
        return [during, await answer(owner, PASSWORD), await answer(owner, "a guess")]

    assert run(use()) == [429, 200, 403]


def test_guesses_at_once_from_many_browsers_gain_nothing(house: House) -> None:
    owner = house.owner(waiting_hashes=1000)

    async def use() -> list[int]:
        guesses = [answer(owner, "a guess", f"2001:db8:{n:x}::1") for n in range(200)]
        return await asyncio.gather(*guesses)

    assert sorted(run(use())) == [403] * 5 + [429] * 195


def test_a_known_browser_has_a_counter_of_its_own(house: House) -> None:
    owner = house.owner()

    async def use() -> list[list[int]]:
        one, other = await owner.devices.open(), await owner.devices.open()
        return [
            [await answer(owner, "a guess", HERE, one) for _ in range(6)],
            [await answer(owner, "a guess", HERE, other) for _ in range(5)],
            [await answer(owner, "a guess", HERE) for _ in range(5)],
        ]

    assert run(use()) == [[403] * 5 + [429], [403] * 5, [403] * 5]


@pytest.mark.parametrize("made_up", ["{}", "device {}", "x" * 500 + "{}", ""])
def test_a_made_up_device_is_a_strangers(house: House, made_up: str) -> None:
    owner = house.owner()

    async def use() -> list[int]:
        return [await answer(owner, "a guess", HERE, made_up.format(n)) for n in range(6)]

    assert run(use()) == [403] * 5 + [429]


@pytest.mark.parametrize(("seconds", "known"), [(365 * DAY - 1, True), (365 * DAY, False)])
def test_a_browser_is_known_for_a_year(
    clock: Clock, keeping: Keeping, seconds: int, known: bool
) -> None:
    owner = House(clock, keeping).owner()

    async def use() -> int:
        device = await owner.devices.open()
        clock.advance(seconds)
        for _ in range(5):
            await answer(owner, "a guess")
        return await answer(owner, PASSWORD, HERE, device)

    assert run(use()) == (200 if known else 429)


def test_a_new_device_takes_the_place_of_the_browsers_earlier_one(house: House) -> None:
    owner = house.owner()

    async def use() -> list[int]:
        first, others = await owner.devices.open(), await owner.devices.open()
        second = await owner.devices.open(first)
        for _ in range(5):
            await answer(owner, "a guess")
        return [await answer(owner, PASSWORD, HERE, device) for device in (first, second, others)]

    assert run(use()) == [429, 200, 200]
    assert len(house.stored["devices"]) == 2


class Away:
    """A store that cannot be reached for a while."""

    def __init__(self, store: SnapshotStore) -> None:
        self.away, self._store = False, store

    async def get(self, key: str, *, collection: str | None = None) -> dict[str, Any] | None:
        if self.away:
            raise ConnectionError
        return await self._store.get(key, collection=collection)

    async def put(self, *arguments: Any, **options: Any) -> None:
        raise AssertionError("a stranger made a record")

    async def delete(self, *arguments: Any, **options: Any) -> bool:
        raise AssertionError("a stranger deleted a record")


def test_an_attempt_while_the_store_is_away_is_nobodys_fault(house: House, clock: Clock) -> None:
    store = Away(house.snapshot)
    owner = House(clock, store).owner(None)

    async def use() -> int:
        await house.snapshot.put("password", {"hash": cheap(PASSWORD)}, collection="owner")
        store.away = True
        for _ in range(10):
            with pytest.raises(StoreUnavailable):
                await owner.sign_in(PASSWORD, HERE, None)
        store.away = False
        return await answer(owner, PASSWORD)

    assert run(use()) == 200


# Sessions


class Keeping:
    """A store that forgets nothing by itself, and remembers how long it should."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str | None, str], dict[str, Any]] = {}
        self.lives: dict[str | None, SupportsFloat | None] = {}

    async def get(self, key: str, *, collection: str | None = None) -> dict[str, Any] | None:
        return self.rows.get((collection, key))

    async def put(
        self,
        key: str,
        value: Mapping[str, Any],
        *,
        collection: str | None = None,
        ttl: SupportsFloat | None = None,
    ) -> None:
        self.rows[collection, key] = dict(value)
        self.lives[collection] = ttl

    async def delete(self, key: str, *, collection: str | None = None) -> bool:
        return self.rows.pop((collection, key), None) is not None


@pytest.fixture
def keeping() -> Keeping:
    return Keeping()


@pytest.mark.parametrize(
    ("seconds", "valid"), [(0, True), (12 * HOUR - 1, True), (12 * HOUR, False)]
)
def test_a_session_holds_for_twelve_hours(
    clock: Clock, keeping: Keeping, seconds: int, valid: bool
) -> None:
    owner = House(clock, keeping).owner()

    async def use() -> bool:
        session = await owner.sessions.open()
        clock.advance(seconds)
        return await owner.sessions.holds(session)

    assert run(use()) == valid


def test_stores_are_told_how_long_to_keep_sessions_and_devices(
    clock: Clock, keeping: Keeping
) -> None:
    owner = House(clock, keeping).owner()

    async def use() -> None:
        await owner.sessions.open()
        await owner.devices.open()

    run(use())

    assert keeping.lives == {"sessions": 12 * HOUR, "devices": 365 * DAY}


@pytest.mark.parametrize("cookie", [None, "", "made up", "\ud800", "owner", "x" * 500])
def test_nothing_else_is_a_session(house: House, cookie: str | None) -> None:
    owner = house.owner()

    async def use() -> bool:
        await owner.sessions.open()
        return await owner.sessions.holds(cookie)

    assert run(use()) is False


def test_sessions_and_devices_are_random_and_only_their_hashes_are_stored(house: House) -> None:
    owner = house.owner()

    async def use() -> tuple[list[str], list[str]]:
        sessions = [await owner.sessions.open() for _ in range(20)]
        return sessions, [await owner.devices.open() for _ in range(20)]

    sessions, devices = run(use())
    assert len({*sessions, *devices}) == 40
    assert all(len(value) == 43 for value in [*sessions, *devices])  # 256 bits
    assert set(house.stored["sessions"]) == {digest(session) for session in sessions}
    assert set(house.stored["devices"]) == {digest(device) for device in devices}
    assert not any(value.encode() in house.written[-1] for value in [*sessions, *devices])


def test_a_device_is_no_session_and_a_session_no_device(house: House) -> None:
    owner = house.owner()

    async def use() -> tuple[bool, int]:
        session, device = await owner.sessions.open(), await owner.devices.open()
        for _ in range(5):
            await answer(owner, "a guess")
        return await owner.sessions.holds(device), await answer(owner, PASSWORD, HERE, session)

    assert run(use()) == (False, 429)


def test_a_sign_in_ends_the_browsers_earlier_session_and_no_other(house: House) -> None:
    owner = house.owner()

    async def use() -> list[bool]:
        first, elsewhere = await owner.sessions.open(), await owner.sessions.open()
        second = await owner.sessions.open(first)
        return [await owner.sessions.holds(each) for each in (first, elsewhere, second)]

    assert run(use()) == [False, True, True]
    assert len(house.stored["sessions"]) == 2


@pytest.mark.parametrize("configured", [PASSWORD, cheap(PASSWORD)], ids=["plain", "a hash"])
def test_a_session_outlives_a_restart_with_the_same_password(house: House, configured: str) -> None:
    async def use() -> bool:
        session = await house.owner(configured).sessions.open()
        return await house.owner(configured).sessions.holds(session)

    assert run(use())


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (PASSWORD, "another password"),
        (cheap(PASSWORD), cheap("another password")),
        (PASSWORD, cheap(PASSWORD)),
        (PASSWORD, None),
        (None, PASSWORD),
    ],
)
def test_another_configured_password_ends_every_session(
    house: House, before: str | None, after: str | None
) -> None:
    async def use() -> bool:
        await house.owner(None).change_password("the stored one")
        session = await house.owner(before).sessions.open()
        return await house.owner(after).sessions.holds(session)

    assert run(use()) is False


async def set_another(owner: Owner) -> None:
    await owner.change_password("another password")


async def sign_all_out(owner: Owner) -> None:
    await owner.sessions.end_all_but(None)


def test_a_password_that_is_changed_while_it_is_looked_at_is_a_wrong_one(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, command = house.owner(None), house.owner(None)
    looking, may = threading.Event(), threading.Event()

    def slowly(password: str, reference: str) -> bool:
        looking.set()
        return may.wait(10) and is_password(password, reference)

    async def use() -> None:
        await server.change_password(PASSWORD)
        monkeypatch.setattr(owner, "is_password", slowly)
        signing = asyncio.create_task(server.sign_in(PASSWORD, HERE, None))
        await asyncio.to_thread(looking.wait, 10)
        await set_another(command)
        may.set()
        await signing

    with pytest.raises(WrongPassword):
        run(use())


@pytest.mark.parametrize("end", [set_another, sign_all_out])
def test_what_ends_every_session_ends_the_one_of_a_sign_in_under_way(
    house: House, end: Callable[[Owner], Awaitable[None]]
) -> None:
    server, command = house.owner(None), house.owner(None)

    async def use() -> list[bool]:
        await server.change_password(PASSWORD)
        proofs = [await server.sign_in(PASSWORD, HERE, None) for _ in range(2)]
        before = await server.sessions.open(proof=proofs[0])
        held = await server.sessions.holds(before)
        await end(command)
        after = await server.sessions.open(proof=proofs[1])
        return [held, await server.sessions.holds(after)]

    assert run(use()) == [True, False]


def test_a_changed_password_ends_every_session_even_when_it_is_the_same(house: House) -> None:
    owner = house.owner(None)

    async def use() -> list[bool]:
        await owner.change_password(PASSWORD)
        session = await owner.sessions.open()
        before = await owner.sessions.holds(session)
        await owner.change_password(PASSWORD)
        return [before, await owner.sessions.holds(session)]

    assert run(use()) == [True, False]
    assert house.proofs == 2


def test_a_session_is_worth_nothing_under_another_key(house: House) -> None:
    async def use() -> bool:
        session = await house.owner().sessions.open()
        return await house.owner(key=b"x" * 32).sessions.holds(session)

    assert run(use()) is False


def test_a_session_needs_a_password_that_still_is(house: House) -> None:
    owner = house.owner(None)

    async def use() -> None:
        await owner.change_password(PASSWORD)
        session = await owner.sessions.open()
        await house.records.delete("owner", "password")
        await owner.sessions.holds(session)

    with pytest.raises(WrongPassword, match="no password yet"):
        run(use())


def test_expired_sessions_and_devices_leave_the_state(house: House, clock: Clock) -> None:
    owner = house.owner()

    async def use() -> list[tuple[int, int]]:
        counts = []
        for _ in range(3):
            await owner.sessions.open()
            await owner.devices.open()
            counts.append((len(house.stored["sessions"]), len(house.stored["devices"])))
            clock.advance(365 * DAY)
        return counts

    assert run(use()) == [(1, 1), (1, 1), (1, 1)]


def test_whatever_strangers_try_no_record_is_made(house: House, clock: Clock) -> None:
    owner = House(clock, Away(house.snapshot)).owner()

    async def use() -> None:
        for number in range(50):
            await answer(owner, "a guess", f"10.0.0.{number}", f"device {number}")
            assert not await owner.sessions.holds(f"session {number}")

    run(use())

    assert house.written == []


def test_a_ticket_remembers_a_browser_by_its_hash() -> None:
    assert browser_hash("a cookie") == digest("a cookie")[:32]
    assert browser_hash("a cookie") != browser_hash("another")


# Through the front door


def rows(site: Site, collection: str) -> dict[str, Any]:
    document = json.loads((site.state_dir / "oauth_tokens.json").read_text())
    return dict(document["rows"].get(collection, {}))


def page(site: Site, visitor: Visitor) -> str:
    return visitor.get("/authorize", params=App.register(site).query()).text


def guess(site: Site, visitor: Visitor, password: str = "guess") -> int:
    """Opens the page and tries a password; returns the status of the answer."""
    shown = visitor.get("/authorize", params=App.register(site).query())
    return visitor.submit(
        ticket=ticket_of(shown), password=password, decision="approve"
    ).status_code


def test_a_sign_in_leaves_a_session_for_twelve_hours_and_a_device_for_a_year(site: Site) -> None:
    visitor = site.visitor()
    shown = visitor.get("/authorize", params=App.register(site).query())

    signed_in = visitor.submit(ticket=ticket_of(shown), password=PASSWORD, decision="approve")

    cookies = sorted(signed_in.headers.get_list("set-cookie"))
    assert [cookie.partition("=")[0] for cookie in cookies] == [
        "__Host-pa_device",
        "__Host-pa_session",
    ]
    lives = ("Max-Age=31536000", "Max-Age=43200")
    for cookie, life in zip(cookies, lives, strict=True):
        assert {life, "HttpOnly", "Path=/", "SameSite=lax", "Secure"} < set(cookie.split("; "))


def test_a_session_that_a_sign_in_replaced_does_not_come_back_with_its_password(
    site: Site, owner: Visitor
) -> None:
    approve(App.register(site), owner)
    thief = site.visitor()
    thief.cookies = dict(owner.cookies)

    site.restart(password="another password")
    assert guess(site, owner, "another password") == 303
    site.restart(password=PASSWORD)

    assert 'type="password"' in page(site, thief)
    assert len(rows(site, "sessions")) == 1


def test_signing_in_again_and_again_leaves_one_session_and_one_device(
    site: Site, owner: Visitor, clock: Clock
) -> None:
    for _ in range(3):
        approve(App.register(site), owner)
        clock.advance(12 * HOUR)
    approve(App.register(site), owner)

    assert len(rows(site, "sessions")) == 1
    assert len(rows(site, "devices")) == 1


def test_a_password_changed_beside_a_running_server_ends_its_sessions(
    site: Site, owner: Visitor
) -> None:
    site.restart(password=None)
    first = (site.state_dir / "initial-password").read_text().strip()
    assert guess(site, owner, first) == 303
    signed_in = page(site, owner)

    async def change() -> None:
        command = PersonalAuthProvider("https://mcp.example.com", state_dir=site.state_dir)
        async with command.service.for_a_command() as service:
            await service.owner.change_password(PASSWORD)

    asyncio.run(change())

    assert 'type="password"' not in signed_in
    assert 'type="password"' in page(site, owner)
    assert guess(site, owner, first) == 403
    assert guess(site, owner, PASSWORD) == 303


def test_strangers_leave_no_session_and_no_device(site: Site, stranger: Visitor) -> None:
    before = (site.state_dir / "oauth_tokens.json").read_bytes()

    stranger.cookies |= {"__Host-pa_session": "made-up", "__Host-pa_device": "made-up"}
    for decision in ["approve", "deny"] * 5:
        shown = stranger.get("/authorize", params=App.register(site).query())
        stranger.submit(ticket=ticket_of(shown), password="guess", decision=decision)

    assert (site.state_dir / "oauth_tokens.json").read_bytes() == before


def test_a_flood_from_everywhere_locks_out_neither_a_session_nor_a_known_browser(
    site: Site, owner: Visitor
) -> None:
    site.restart(trusted_proxies=["127.0.0.1"])
    approve(App.register(site), owner)
    known = site.visitor(**{"x-forwarded-for": "203.0.113.0"})
    known.cookies["__Host-pa_device"] = owner.cookies["__Host-pa_device"]

    flood = [guess(site, site.visitor(**{"x-forwarded-for": f"203.0.113.{n}"})) for n in range(8)]

    assert flood == [403] * 5 + [429] * 3
    assert approve(App.register(site), owner)
    assert approve(App.register(site), known)
    assert guess(site, site.visitor(), PASSWORD) == 429


@pytest.mark.parametrize(
    ("trusted", "for_all"), [([], 15.0), (["127.0.0.1"], 0.0)], ids=["no proxy", "behind a proxy"]
)
def test_a_forged_forwarded_address_gains_no_guess(
    site: Site, trusted: list[str], for_all: float
) -> None:
    limits = Limits(longest_wait_for_all_seconds=for_all)
    site.restart(trusted_proxies=trusted, limits=limits)

    def forger(number: int) -> Visitor:
        return site.visitor(**{"x-forwarded-for": f"198.51.100.{number}, 203.0.113.9"})

    assert [guess(site, forger(n)) for n in range(6)] == [403] * 5 + [429]


def test_behind_a_proxy_that_nobody_named_a_stranger_holds_the_owner_up_for_seconds_only(
    site: Site, clock: Clock
) -> None:
    for _ in range(20):  # one wrong password at each moment that allows one
        guess(site, site.visitor())
        clock.advance(15)

    assert guess(site, site.visitor()) == 403
    clock.advance(15)
    assert guess(site, site.visitor(), PASSWORD) == 303


def test_two_origins_are_not_one_of_ours(site: Site) -> None:
    visitor = site.visitor()
    page = visitor.get("/authorize", params=App.register(site).query())
    form = {"ticket": ticket_of(page), "password": PASSWORD, "decision": "approve"}

    cookie = "; ".join(f"{name}={value}" for name, value in visitor.cookies.items())
    headers = [("host", "mcp.example.com"), ("cookie", cookie), ("origin", URL)]
    headers.append(("origin", "https://evil.example"))
    answer = visitor.send("POST", "/authorize", headers, data=form)  # type: ignore[arg-type]

    assert answer.status_code == 400


def test_denying_an_approved_page_burns_its_code(site: Site) -> None:
    owner, app = site.visitor(), App.register(site)
    page = owner.get("/authorize", params=app.query())
    approved = owner.submit(ticket=ticket_of(page), password=PASSWORD, decision="approve")

    denied = owner.submit(ticket=ticket_of(page), decision="deny")

    assert denied.status_code == 303
    assert app.redeem(answer_of(approved)["code"]).status_code == 400


def test_many_browsers_at_once_have_five_guesses_together(site: Site) -> None:
    visitors = [site.visitor() for _ in range(12)]
    tickets = [ticket_of(v.get("/authorize", params=App.register(site).query())) for v in visitors]

    def submit(visitor: Visitor, ticket: str) -> int:
        answer = visitor.submit(ticket=ticket, password="guess", decision="approve")
        assert ("retry-after" in answer.headers) == (answer.status_code == 429)
        return answer.status_code

    with ThreadPoolExecutor(12) as crowd:
        answers = list(crowd.map(submit, visitors, tickets))

    assert sorted(answers) == [403] * 5 + [429] * 7


def test_the_server_answers_everybody_else_while_it_hashes(site: Site, hashing: Hashing) -> None:
    with ThreadPoolExecutor(1) as beside:
        signing_in = beside.submit(approve, App.register(site))
        while not hashing.running:
            assert not signing_in.done()
        answers = [site.visitor().call("pat_made-up"), site.visitor().get("/authorize")]
        was_hashing = hashing.running
        hashing.go_on.set()
        code = signing_in.result(10)

    assert [answer.status_code for answer in answers] == [401, 400]
    assert was_hashing == 1
    assert code.startswith("pac_")
