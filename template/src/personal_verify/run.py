"""Running the checks in their order, and leaving nothing behind."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import replace

from personal_verify import (  # noqa: F401 - each registers its checks
    door,
    edge,
    foreign,
    grant,
    metadata,
    owner,
    ownerpage,
    published,
    reach,
    redemption,
    refusals,
    revocation,
    state,
    stranger,
)

# isort: off
from personal_verify import protocol, failures, tools  # noqa: F401 - in the order of the report
from personal_verify import descriptions, instructions, schemas, calling  # noqa: F401
# isort: on

from personal_verify.answers import plain
from personal_verify.apps import Tokens
from personal_verify.checks import (
    CHECKS,
    LOG,
    RENEW,
    Check,
    Failed,
    Result,
    Skipped,
    Unreachable,
    cure_elsewhere,
    every_check,
)
from personal_verify.known import NAME
from personal_verify.ownerpage import sign_out
from personal_verify.project import command
from personal_verify.visit import Visit, uninterrupted

# These always run: they tell whether what is sent is protected, and whose server it is.
ALWAYS = ("reach.https", "reach.health")
OTHER_PAGE = "reach.json"  # when it fails, answers are not the server's own


def run(visit: Visit, only: Iterable[str]) -> list[Result]:
    """Runs the checks asked for, with what they need; returns those, and what failed besides."""
    asked = set(only)
    results: dict[str, Result] = {}
    try:
        for item in in_order({*ALWAYS, *asked}):
            visit.say(item.title)
            results[item.id] = outcome(item, visit, results)
    finally:
        visit.patience.begin_last()
        with uninterrupted():
            visit.left = not leave_nothing_behind(visit)
            if visit.left:
                print(
                    f"A connection called {NAME} may be left: {how_to_end(visit)}", file=sys.stderr
                )
    shown = (results[item.id] for item in every_check() if item.id in results)
    return [r for r in shown if r.check.id in asked or r.status == "fail"]


def how_to_end(visit: Visit) -> str:
    if visit.ours:
        return f"see `uv run {command()} connections`, and end it with `connections revoke ID`."
    return "end it at that server, or let its tokens expire."


def outcome(item: Check, visit: Visit, before: dict[str, Result]) -> Result:
    """Returns what a check comes to, in words that a terminal can show and without secrets."""
    result = judged(item, visit, before)
    detail, cure = (plain(visit.hiding(text)) for text in (result.detail, result.cure))
    return replace(result, detail=detail, cure=cure)


def judged(item: Check, visit: Visit, before: dict[str, Result]) -> Result:
    if not visit.reached:
        return Result(item, "skip", "needs a server that can be reached")
    for need in (before[name] for name in item.needs):
        if need.status == "fail":
            return Result(item, "skip", f"needs {need.check.id}")
        if need.status == "skip":
            return Result(item, "skip", need.detail)
    if item.ours and not visit.ours:
        return Result(item, "skip", "only servers of this template promise it")
    try:
        return Result(item, "pass", item.run(visit))
    except Skipped as reason:
        return Result(item, "skip", str(reason))
    except Failed as failure:
        visit.reached = not isinstance(failure, Unreachable)
        cure = failure.cure if visit.ours else cure_elsewhere(failure.cure)
        other_page = before.get(OTHER_PAGE)
        if cure == RENEW and other_page is not None and other_page.status == "fail":
            cure = f"Mend {OTHER_PAGE} first, then verify again."
        return Result(item, "fail", failure.cause, cure)
    except Exception as error:  # a server may answer with anything
        cause = f"The answer has another form than clients expect ({error!r})."
        return Result(item, "fail", cause, LOG)


def in_order(ids: Iterable[str]) -> list[Check]:
    """Returns checks and what they need, each after what it needs, the last ones at the end."""
    found: dict[str, Check] = {}

    def add(item: Check) -> None:
        for need in (*item.needs, *item.after):
            add(CHECKS[need])
        found.setdefault(item.id, item)

    wanted = set(ids)
    for item in every_check():
        if item.id in wanted:
            add(item)
    return sorted(found.values(), key=lambda item: item.last)


def leave_nothing_behind(visit: Visit) -> bool:
    """Revokes everything that was granted; False when something may be left."""
    sign_out(visit)
    different = list({tokens.access: tokens for tokens in visit.granted}.values())
    if different:
        visit.end_session(different[-1].access)
    return all(gone for _, gone in visit.each(different, lambda tokens: ended(visit, tokens)))


def ended(visit: Visit, tokens: Tokens) -> bool:
    """Revokes what was granted; False when it may still be open."""
    whose = [tokens.app, *([visit.app] if visit.app else [])]  # a broken server takes any client
    try:
        for app in whose:
            visit.revoke(app, tokens.refresh or tokens.access)
            if visit.is_shut(tokens.access):
                return True
    except (Failed, Skipped, ValueError):  # tokens may be such that no request can carry them
        return False
    return False
