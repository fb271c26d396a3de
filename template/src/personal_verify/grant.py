"""Does a connection renew itself, for its client only, and without loss?"""

from __future__ import annotations

from typing import Any

from personal_verify.answers import json_in, refuses, shape
from personal_verify.calling import text_of
from personal_verify.checks import RENEW, Skipped, check, expect
from personal_verify.signin import registered
from personal_verify.tokens import duration, token_answer
from personal_verify.visit import Visit

ONE_SERVER = (
    "Run only one server on one state folder, and renew it: `uvx copier update --defaults`."
)
SLOWNESS_SECONDS = 60
READING = "tools:read"


@check("grant.refresh", "A connection renews itself", "protocol.token")
def _(visit: Visit) -> str:
    old = visit.connection[-1]
    answer = token_answer(visit.refresh(old))
    visit.connection.append(visit.granted[-1])
    new = answer["access_token"], answer["refresh_token"]
    changed = not {old.access, old.refresh} & set(new)
    expect(changed, "A refresh gives the tokens back that it should replace.", RENEW)
    expect(visit.opens(new[0]), "The refreshed access token opens nothing.", RENEW)
    return "new tokens, which open the server"


@check("grant.retry", "A repeated refresh does no harm", "grant.refresh", ours=True)
def _(visit: Visit) -> str:
    first, renewed = visit.connection[:2]
    again = token_answer(visit.refresh(first))
    expect(
        (again["access_token"], again["refresh_token"]) == (renewed.access, renewed.refresh),
        "A refresh that is repeated at once gives other tokens, so that clients lose one.",
        ONE_SERVER,
    )
    return "the same new tokens"


@check("grant.overlap", "The token before it lives on", "grant.refresh")
def _(visit: Visit) -> str:
    lives = visit.opens(visit.connection[0].access)
    expect(lives, "A refresh ends the access token before it.", RENEW)
    return "calls under way are not cut"


@check("grant.lifetime", "A renewed token lives as long", "grant.refresh")
def _(visit: Visit) -> str:
    first, renewed = (tokens.life for tokens in visit.connection[:2])
    expect(
        abs(renewed - first) <= SLOWNESS_SECONDS,
        f"A refreshed token lives {duration(renewed)}, the first one {duration(first)}.",
        RENEW,
    )
    return duration(renewed)


@check("grant.race", "Two refreshes at once agree", "grant.refresh", ours=True)
def _(visit: Visit) -> str:
    old = visit.connection[-1]
    both = [token_answer(r) for _, r in visit.each(range(2), lambda _: visit.refresh(old))]
    one, other = ((answer["access_token"], answer["refresh_token"]) for answer in both)
    expect(
        one == other,
        "Two refreshes at the same moment give different tokens, so that Claude loses one.",
        ONE_SERVER,
    )
    visit.connection.append(visit.granted[-1])
    return "the same tokens for both"


@check("grant.bound", "Only its client renews it", "grant.refresh")
def _(visit: Visit) -> str:
    held = visit.connection[-1]
    response = visit.refresh(held, registered(visit, held.app.callback))
    expect(
        refuses(response, "invalid_grant"),
        f"Another client's refresh is answered with {shape(response)}, not invalid_grant.",
        RENEW,
    )
    return "another client gets invalid_grant"


@check("grant.scope", "A refresh cannot ask for more", "grant.refresh")
def _(visit: Visit) -> str:
    held = visit.connection[-1]
    offered = visit.server.get("scopes_supported")
    more = [s for s in offered if s not in held.scopes] if isinstance(offered, list) else []
    if not more:
        raise Skipped("everything that there is was granted already")
    response = visit.refresh(held, scope=" ".join([*held.scopes, *more]))
    if response.is_success:
        visit.connection.append(visit.granted[-1])
    granted = str((json_in(response) or {}).get("scope") or "").split()
    expect(
        response.status_code in {200, 400} and not set(granted) & set(more),
        f"A refresh that asks for {' '.join(more)} too is answered with {shape(response)}.",
        RENEW,
    )
    return f"not {' '.join(more)}"


@check(
    "grant.reading", "A read-only connection reads", "grant.refresh", "protocol.tools", ours=True
)
def _(visit: Visit) -> str:
    offered = visit.server.get("scopes_supported")
    if not isinstance(offered, list) or READING not in offered:
        raise Skipped(f"the server has no read-only connections ({READING})")
    answer = token_answer(visit.refresh(visit.connection[-1], scope=READING))
    reading = visit.granted[-1]
    said, listed = answer["scope"], visit.call("tools/list", {}).get("tools") or []
    hidden = [tool for tool in visit.tools if not only_reads(tool)]
    # Nothing is changed, should it be called after all: it is called without what it needs.
    tried = [tool for tool in hidden if (tool.get("inputSchema") or {}).get("required")][:1]
    answers = [
        text_of(visit.call("tools/call", {"name": tool["name"], "arguments": {}})) for tool in tried
    ]
    token_answer(visit.refresh(reading))
    visit.connection.append(visit.granted[-1])
    expect(READING in said.split(), f"Asked for {READING}, it grants {said}.", RENEW)
    seen = [tool["name"] for tool in listed if not only_reads(tool)]
    expect(not seen, f"It sees tools that may change something: {', '.join(seen)}.", RENEW)
    for tool, told in zip(tried, answers, strict=True):
        expect("Unknown tool" in told, f"It reaches the hidden tool {tool['name']}.", RENEW)
    return f"it sees {len(listed)} of {len(visit.tools)} tools"


def only_reads(tool: dict[str, Any]) -> bool:
    """Tells whether a tool says that it changes nothing."""
    hints = tool.get("annotations") or {}
    return hints.get("readOnlyHint") is True and hints.get("destructiveHint") is not True
