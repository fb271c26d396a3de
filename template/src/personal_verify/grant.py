"""Does a connection renew itself, and can it be ended?"""

from __future__ import annotations

from personal_verify.answers import shape
from personal_verify.checks import LOG, RENEW, check, expect
from personal_verify.tokens import token_answer
from personal_verify.visit import Visit


@check("grant.refresh", "A connection renews itself", "owner.token")
def _(visit: Visit) -> str:
    old = visit.granted[0]
    answer = token_answer(visit.refresh(old))
    new = answer["access_token"], answer["refresh_token"]
    changed = not {old.access, old.refresh} & set(new)
    expect(changed, "A refresh gives the tokens back that it should replace.", RENEW)
    expect(visit.opens(new[0]), "The refreshed access token opens nothing.", RENEW)
    return "new tokens, which open the server"


@check("grant.retry", "A repeated refresh does no harm", "grant.refresh")
def _(visit: Visit) -> str:
    first, renewed = visit.granted[0], visit.granted[-1]
    again = token_answer(visit.refresh(first))
    expect(
        (again["access_token"], again["refresh_token"]) == (renewed.access, renewed.refresh),
        "A refresh that is repeated at once gives other tokens, so that clients lose one.",
        "Run only one server on one state folder, and renew it: `uvx copier update --defaults`.",
    )
    return "the same new tokens"


@check("grant.overlap", "The token before it lives on", "grant.refresh")
def _(visit: Visit) -> str:
    lives = visit.opens(visit.granted[0].access)
    expect(lives, "A refresh ends the access token before it.", RENEW)
    return "calls under way are not cut"


@check("grant.revoke", "A connection can be ended", "owner.token")
def _(visit: Visit) -> str:
    first, last = visit.granted[0], visit.granted[-1]
    visit.end_session(last.access)
    response = visit.form(visit.endpoint("revocation"), token=last.refresh, client_id=last.app.id)
    expect(response.is_success, f"POST /revoke is answered with {shape(response)}.", LOG)
    for access in (first.access, last.access):
        expect(not visit.opens(access), "A revoked access token still opens the server.", RENEW)
    again = visit.refresh(last)
    expect(not again.is_success, "A revoked refresh token still gives new tokens.", RENEW)
    return "neither token opens anything"
