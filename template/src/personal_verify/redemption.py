"""Does a code become a token, once, and only for the client to which it was given?"""

from __future__ import annotations

import secrets
import time
from dataclasses import replace

import httpx2

from personal_verify.answers import null_members, refuses, shape
from personal_verify.approval import approve_again
from personal_verify.apps import App
from personal_verify.checks import RENEW, Skipped, check, expect, pass_on
from personal_verify.signin import app_to_approve, registered, resource_of
from personal_verify.tokens import duration, token_answer
from personal_verify.visit import Visit

REPLAY_GRACE_SECONDS = 8.0  # a code presented again later than 10 s revokes its connection
FOREIGN_RESOURCE = "https://stranger.example/mcp"


@check("owner.token", "The code becomes a token", "owner.sign_in")
def _(visit: Visit) -> str:
    app, resource = app_to_approve(visit), resource_of(visit)
    response = visit.redeem(app, visit.approved.code, resource=resource)
    if response.is_success and visit.granted:
        visit.connection = [visit.granted[-1]]
    visit.token_response = response
    answer = token_answer(response)
    nulls = null_members(answer)
    expect(not nulls, f"The token answer has null members: {', '.join(nulls)}.", RENEW)
    return f"a {answer['token_type']} token for {duration(answer['expires_in'])}"


@check("owner.caching", "No cache keeps the token", "owner.token")
def _(visit: Visit) -> str:
    assert visit.token_response is not None, "owner.token has passed"
    caching = visit.token_response.headers.get("cache-control", "")
    expect("no-store" in caching, "Caches may keep the token.", pass_on("Cache-Control"))
    return "no-store"


@check("owner.code_once", "A code works only once", "owner.token")
def _(visit: Visit) -> str:
    if time.monotonic() - visit.connection[0].at > REPLAY_GRACE_SECONDS:
        raise Skipped("the server answers too slowly: a late replay would end the connection")
    response = visit.redeem(app_to_approve(visit), visit.approved.code)
    must_be_burned(response, "a second time")
    return "invalid_grant the second time"


@check("owner.verifier", "A stolen code is worthless", "owner.token")
def _(visit: Visit) -> str:
    app = another(visit)
    code = approve_again(visit, app)
    tries = (
        (secrets.token_urlsafe(48), "with a wrong verifier"),
        (app.verifier, "with the right verifier after a wrong one"),
    )
    for verifier, what in tries:
        response = visit.redeem(app, code, verifier)
        must_be_burned(response, what)
    return "burned by a wrong verifier"


@check("owner.bound", "A code serves only its client", "owner.token")
def _(visit: Visit) -> str:
    app = another(visit)
    other = replace(registered(visit, app.callback), verifier=app.verifier)
    elsewhere = replace(app, callback=f"{app.callback}/elsewhere")
    tries = {"by another client": other, "with another redirect_uri": elsewhere}

    def present(what: str) -> httpx2.Response:
        return visit.redeem(tries[what], approve_again(visit, app))

    for what, response in visit.each(tries, present):
        must_be_burned(response, what)
    return "to the client and its redirect_uri"


@check("owner.resource", "No token is for another server", "owner.token")
def _(visit: Visit) -> str:
    app = another(visit)
    code = approve_again(visit, app)
    response = visit.redeem(app, code, resource=FOREIGN_RESOURCE)
    visit.redeem(app, code, secrets.token_urlsafe(48))  # burns it
    expect(
        refuses(response, "invalid_target"),
        f"A code with the resource of another server is answered with {shape(response)}, not"
        " invalid_target.",
        RENEW,
    )
    return "invalid_target"


def must_be_burned(response: httpx2.Response, what: str) -> None:
    """Raises Failed when a code is taken, or refused otherwise than clients expect."""
    expect(
        refuses(response, "invalid_grant"),
        f"A code presented {what} is answered with {shape(response)}, not invalid_grant.",
        RENEW,
    )


def another(visit: Visit) -> App:
    """Returns the client of this visit with a verifier of its own."""
    app = app_to_approve(visit)
    return App(app.id, app.callback, app.secret)
