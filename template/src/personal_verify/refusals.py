"""Are strangers refused in the way that clients understand?"""

from __future__ import annotations

import secrets
from typing import Any

import httpx2

from personal_verify.answers import is_refusal, json_in, null_members, shape
from personal_verify.apps import App, Tokens
from personal_verify.checks import LETS_IN, RENEW, Skipped, check, expect
from personal_verify.known import CLAUDE
from personal_verify.signin import newcomer
from personal_verify.visit import Visit


@check("stranger.code", "A made-up code is refused properly", "stranger.register")
def _(visit: Visit) -> str:
    response = visit.redeem(newcomer(visit), secrets.token_urlsafe(32))
    if response.is_success:
        return "accepted, see stranger.token"
    must_be_invalid_grant(response, "A made-up code")
    return "400, invalid_grant"


@check("stranger.refresh", "A made-up refresh token is refused", "stranger.register")
def _(visit: Visit) -> str:
    app = newcomer(visit)
    response = visit.refresh(Tokens(app, "", secrets.token_urlsafe(32), 0, (), 0.0))
    expect(
        not response.is_success,
        f"POST /token with a made-up refresh token is answered with {shape(response)}.",
        LETS_IN,
    )
    must_be_invalid_grant(response, "A made-up refresh token")
    return "400, invalid_grant"


@check("stranger.client", "A lost registration is told", "stranger.register")
def _(visit: Visit) -> str:
    response = visit.redeem(App(secrets.token_urlsafe(24), CLAUDE), secrets.token_urlsafe(32))
    answer = json_in(response)
    if response.is_success:
        return "accepted, see stranger.token"
    expect(
        response.status_code == 401
        and isinstance(answer, dict)
        and answer.get("error") == "invalid_client",
        f"A client that is not known is answered with {shape(response)}, where clients need status"
        " 401 with invalid_client to register anew.",
        RENEW,
    )
    return "401, invalid_client"


@check("stranger.revoke", "A stranger can end no connection", "stranger.register")
def _(visit: Visit) -> str:
    if not visit.ours and not visit.found.endpoint("revocation"):
        raise Skipped("no revocation endpoint is named")
    app, token = newcomer(visit), secrets.token_urlsafe(32)
    address = visit.endpoint("revocation")
    by: tuple[dict[str, str], ...] = ({"client_id": app.id}, {})
    (_, known), (_, nobody) = visit.each(by, lambda who: visit.form(address, token=token, **who))
    expect(
        known.status_code == 200 or not visit.ours,
        f"POST /revoke with a token that is not known is answered with {shape(known)}, where"
        " RFC 7009 has 200.",
        RENEW,
    )
    expect(
        nobody.status_code in {400, 401},
        f"POST /revoke by nobody is answered with {shape(nobody)}, not with 400 or 401.",
        RENEW,
    )
    return "only clients may ask, and learn nothing"


@check("stranger.form", "Errors have the form clients read", "stranger.register")
def _(visit: Visit) -> str:
    token, client_id = visit.endpoint("token"), newcomer(visit).id
    wrong: dict[str, tuple[str, dict[str, Any]]] = {
        "POST /token with nothing": (token, {"data": {}}),
        "POST /token for another kind of grant": (
            token,
            {"data": {"grant_type": "password", "client_id": client_id}},
        ),
    }
    if visit.ours or visit.found.endpoint("registration"):
        register = visit.endpoint("registration")
        wrong["POST /register with no JSON"] = (register, {"content": b"{"})
        wrong["POST /register without redirect_uris"] = (register, {"json": {}})

    def ask(what: str) -> httpx2.Response:
        address, body = wrong[what]
        return visit.send("POST", address, **body)

    for what, response in visit.each(wrong, ask):
        answer, kind = json_in(response), response.headers.get("content-type", "")
        expect(
            400 <= response.status_code < 500
            and kind.startswith("application/json")
            and isinstance(answer, dict)
            and isinstance(answer.get("error"), str),
            f"{what} is answered with {shape(response)}, not with an error in JSON.",
            RENEW,
        )
        nulls = null_members(answer)
        expect(not nulls, f"{what} is answered with null members: {', '.join(nulls)}.", RENEW)
    return f"{len(wrong)} errors in JSON"


def must_be_invalid_grant(response: httpx2.Response, what: str) -> None:
    """Raises Failed when something made up is refused otherwise than clients expect."""
    expect(
        is_refusal(response, "invalid_grant"),
        f"{what} is answered with {shape(response)}, where clients need status 400 with"
        " invalid_grant to sign in anew.",
        RENEW,
    )
