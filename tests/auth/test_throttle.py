"""When the next password may be tried: counted in memory, with a clock that is handed in."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from personal_auth.errors import TooManyAttempts
from personal_auth.limits import Limits
from personal_auth.throttle import Throttle
from tests.support.site import Clock

HERE, THERE = "203.0.113.9", "198.51.100.7"
DEVICE = "the hash of a device cookie"
ALONE = Limits(longest_wait_for_all_seconds=0.0)  # nobody waits for somebody else's attempts


def wait(throttle: Throttle, address: str = HERE, device: str | None = None) -> int:
    """Tries once; returns the seconds that are asked for, 0 when the attempt is let through."""
    try:
        throttle.begin(address, device)
    except TooManyAttempts as error:
        return error.retry_after
    return 0


def guess_until(
    throttle: Throttle, clock: Clock, guesses: int, address: Callable[[int], str]
) -> list[int]:
    """Guesses wrong so often, as soon as it may; returns how long each guess had to wait."""
    waits = []
    for number in range(guesses):
        waits.append(wait(throttle, address(number)))
        if waits[-1]:
            clock.advance(waits[-1])
            assert wait(throttle, address(number)) == 0
    return waits


@pytest.fixture
def throttle(clock: Clock) -> Throttle:
    return Throttle(ALONE, clock)


def test_five_wrong_passwords_are_free(throttle: Throttle) -> None:
    assert [wait(throttle) for _ in range(7)] == [0, 0, 0, 0, 0, 1, 1]


def test_the_wait_of_an_address_doubles_from_one_second_to_five_minutes(
    throttle: Throttle, clock: Clock
) -> None:
    waits = guess_until(throttle, clock, 17, lambda number: HERE)

    assert waits == [0, 0, 0, 0, 0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]


def test_the_wait_over_all_addresses_doubles_to_fifteen_seconds(clock: Clock) -> None:
    throttle = Throttle(Limits(), clock)

    waits = guess_until(throttle, clock, 13, lambda number: f"203.0.113.{number}")

    assert waits == [0, 0, 0, 0, 0, 1, 2, 4, 8, 15, 15, 15, 15]


def test_an_attacker_with_every_address_has_a_guess_in_fifteen_seconds(clock: Clock) -> None:
    throttle, guesses = Throttle(Limits(), clock), 0

    for second in range(60 * 60):
        clock.advance(1)
        guesses += wait(throttle, f"2001:db8:{second:x}::1") == 0

    assert guesses < 60 * 60 / 15 + 12


def test_a_wait_ends_exactly_when_it_was_said_to_end(throttle: Throttle, clock: Clock) -> None:
    waits = [wait(throttle) for _ in range(6)]

    clock.advance(0.999)
    just_before = wait(throttle)
    clock.advance(0.001)

    assert waits[-1] == 1
    assert just_before == 1
    assert wait(throttle) == 0


def test_what_is_tried_during_a_wait_does_not_lengthen_it(throttle: Throttle, clock: Clock) -> None:
    for _ in range(100):
        wait(throttle)

    clock.advance(1)

    assert wait(throttle) == 0
    assert wait(throttle) == 2


def test_a_wait_is_told_in_whole_seconds_in_a_sentence(throttle: Throttle, clock: Clock) -> None:
    for _ in range(5):
        throttle.begin(HERE, None)
    clock.advance(0.5)

    with pytest.raises(TooManyAttempts, match="Too many wrong passwords: wait 1 s,") as refusal:
        throttle.begin(HERE, None)

    assert refusal.value.retry_after == 1


def test_many_at_once_gain_nothing(throttle: Throttle) -> None:
    let_through = [wait(throttle) == 0 for _ in range(1000)]  # none has been answered yet

    assert let_through.count(True) == 5


def test_another_address_does_not_wait_for_this_one(throttle: Throttle) -> None:
    for _ in range(6):
        wait(throttle, HERE)

    assert wait(throttle, THERE) == 0
    assert wait(throttle, HERE) == 1


def test_one_ipv6_network_is_one_guesser(throttle: Throttle) -> None:
    waits = [wait(throttle, f"2001:db8:1:2::{number:x}") for number in range(6)]

    assert waits == [0, 0, 0, 0, 0, 1]
    assert wait(throttle, "2001:db8:1:3::1") == 0


def test_a_flood_does_not_hold_a_known_browser_up(clock: Clock) -> None:
    throttle = Throttle(Limits(), clock)
    for number in range(1000):
        wait(throttle, HERE)
        wait(throttle, f"198.51.100.{number % 256}")

    assert [wait(throttle, HERE, DEVICE) for _ in range(6)] == [0, 0, 0, 0, 0, 1]
    assert wait(throttle, HERE, "another device") == 0


def test_a_known_browser_holds_nobody_else_up(clock: Clock) -> None:
    throttle = Throttle(Limits(), clock)

    for _ in range(100):
        wait(throttle, HERE, DEVICE)

    assert wait(throttle, HERE) == 0


def test_a_known_browser_is_counted_by_itself_wherever_it_is(throttle: Throttle) -> None:
    waits = [wait(throttle, f"203.0.113.{number}", DEVICE) for number in range(6)]

    assert waits == [0, 0, 0, 0, 0, 1]


def test_the_right_password_forgives_every_attempt_before_it(clock: Clock) -> None:
    throttle = Throttle(Limits(), clock)
    for _ in range(5):
        throttle.begin(HERE, None)

    throttle.succeeded(HERE, None)

    assert [wait(throttle) for _ in range(6)] == [0, 0, 0, 0, 0, 1]


def test_the_right_password_does_not_forgive_another_address(throttle: Throttle) -> None:
    for _ in range(5):
        throttle.begin(THERE, None)

    throttle.succeeded(HERE, None)

    assert wait(throttle, THERE) == 1


def test_the_right_password_in_a_known_browser_forgives_no_stranger(clock: Clock) -> None:
    throttle = Throttle(Limits(), clock)
    for _ in range(5):
        throttle.begin(HERE, None)
        throttle.begin(HERE, DEVICE)

    throttle.succeeded(HERE, DEVICE)

    assert wait(throttle, HERE, DEVICE) == 0
    assert wait(throttle, HERE) == 1


@pytest.mark.parametrize(
    ("minutes", "waits"),
    [
        (9.99, [0, 2]),
        (10, [0, 1]),
        (20, [0, 0, 1]),
        (49.99, [0, 0, 0, 0, 1]),
        (50, [0, 0, 0, 0, 0, 1]),
        (600, [0, 0, 0, 0, 0, 1]),
    ],
)
def test_each_ten_minutes_one_wrong_attempt_is_forgotten(
    throttle: Throttle, clock: Clock, minutes: float, waits: list[int]
) -> None:
    for _ in range(5):
        throttle.begin(HERE, None)

    clock.advance(minutes * 60)

    assert [wait(throttle) for _ in waits] == waits


def test_time_before_the_first_attempt_earns_nothing(throttle: Throttle, clock: Clock) -> None:
    clock.advance(365 * 24 * 60 * 60)
    throttle.begin(HERE, None)
    clock.advance(365 * 24 * 60 * 60)

    assert [wait(throttle) for _ in range(6)] == [0, 0, 0, 0, 0, 1]


def test_the_wait_over_all_runs_on_while_nobody_tries(clock: Clock) -> None:
    throttle = Throttle(Limits(), clock)
    guess_until(throttle, clock, 12, lambda number: f"203.0.113.{number}")

    clock.advance(14)

    assert wait(throttle, THERE) == 1


@pytest.mark.parametrize("back", [1, 600, 24 * 60 * 60])
def test_a_clock_that_is_set_back_makes_nobody_wait_longer(
    throttle: Throttle, clock: Clock, back: float
) -> None:
    guess_until(throttle, clock, 4, lambda number: HERE)

    clock.advance(-back)
    fifth, sixth = wait(throttle), wait(throttle)

    assert (fifth, sixth) == (0, 1)


def test_a_wait_outlives_a_clock_that_is_set_back_by_its_longest_only(
    throttle: Throttle, clock: Clock
) -> None:
    guess_until(throttle, clock, 20, lambda number: HERE)

    clock.advance(-24 * 60 * 60)

    assert wait(throttle) == 300
    clock.advance(300)
    assert wait(throttle) == 0


def test_a_clock_that_is_set_back_holds_a_new_browser_up_for_fifteen_seconds(clock: Clock) -> None:
    throttle = Throttle(Limits(), clock)
    guess_until(throttle, clock, 20, lambda number: f"203.0.113.{number}")

    clock.advance(-24 * 60 * 60)

    assert wait(throttle, THERE) == 15


def test_only_so_many_addresses_are_remembered_and_the_latest_are(clock: Clock) -> None:
    limits = Limits(longest_wait_for_all_seconds=0.0, attempts_remembered=100)
    throttle = Throttle(limits, clock)
    for number in range(1000):
        for _ in range(5):
            wait(throttle, f"11.0.{number // 256}.{number % 256}")

    assert len(throttle._counters) == 100
    assert wait(throttle, "11.0.3.231") == 1  # the last
    assert wait(throttle, "11.0.0.0") == 0  # the first, forgotten


def test_forgetting_an_address_does_not_forget_the_wait_over_all(clock: Clock) -> None:
    throttle = Throttle(Limits(attempts_remembered=1), clock)

    waits = [wait(throttle, f"10.0.0.{number}") for number in range(7)]

    assert waits == [0, 0, 0, 0, 0, 1, 1]


def test_a_guess_that_never_ends_counts(clock: Clock) -> None:
    throttle = Throttle(Limits(), clock)

    for _ in range(5):
        throttle.begin(HERE, None)  # and the connection is cut

    assert wait(throttle, THERE) == 1


def test_a_wait_stays_bounded_after_any_number_of_wrong_passwords(clock: Clock) -> None:
    throttle = Throttle(Limits(), clock)
    for _ in range(5000):
        clock.advance(300)
        throttle.begin(HERE, None)

    assert wait(throttle, HERE) == 300
    assert wait(throttle, THERE) == 15
