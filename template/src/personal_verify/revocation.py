"""Can a connection be ended, whatever of it is at hand?"""

from __future__ import annotations

import re

from personal_verify.answers import shape
from personal_verify.approval import approve_again
from personal_verify.checks import LOG, RENEW, Skipped, check, expect, pass_on
from personal_verify.known import HANDSHAKE
from personal_verify.signin import app_to_approve
from personal_verify.tokens import token_answer
from personal_verify.visit import Visit


@check("grant.revoke", "A connection can be ended", "protocol.token", last=True)
def _(visit: Visit) -> str:
    if visit.lost:
        raise Skipped("the restart has ended the connection")
    first, last = visit.connection[0], visit.connection[-1]
    visit.end_session(last.access)
    response = visit.revoke(last.app, last.refresh)
    expect(response.is_success, f"POST /revoke is answered with {shape(response)}.", LOG)
    for access in (first.access, last.access):
        expect(not visit.opens(access), "A revoked access token still opens the server.", RENEW)
    again = visit.refresh(last)
    expect(not again.is_success, "A revoked refresh token still gives new tokens.", RENEW)
    return "neither token opens anything"


@check("grant.ended", "A client learns that it has ended", "grant.revoke", last=True)
def _(visit: Visit) -> str:
    access = visit.connection[-1].access
    response = visit.post_mcp(access, visit.message("ping"), mcp_protocol_version=HANDSHAKE)
    challenge = response.headers.get("www-authenticate", "")
    expect(
        response.status_code == 401 and re.search(r'error="?invalid_token"?', challenge),
        f"A revoked token is answered with {shape(response)} and WWW-Authenticate {challenge!r},"
        " not with 401 and invalid_token, at which clients sign in anew.",
        pass_on("the header WWW-Authenticate"),
    )
    return "401, invalid_token"


@check(
    "grant.revoke_access", "The access token ends it too", "protocol.token", ours=True, last=True
)
def _(visit: Visit) -> str:
    app = app_to_approve(visit)
    token_answer(visit.redeem(app, approve_again(visit, app)))
    tokens = visit.granted[-1]
    opened = visit.opens(tokens.access)
    expect(opened, "A second connection of the same client opens nothing.", RENEW)
    response = visit.revoke(app, tokens.access)
    expect(response.is_success, f"POST /revoke is answered with {shape(response)}.", LOG)
    expect(not visit.opens(tokens.access), "A revoked access token still opens the server.", RENEW)
    again = visit.refresh(tokens)
    expect(not again.is_success, "Its refresh token still gives new tokens.", RENEW)
    return "the refresh token has ended with it"
