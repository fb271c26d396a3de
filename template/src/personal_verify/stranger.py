"""Can clients introduce themselves, and what does somebody get who is not the owner?"""

from __future__ import annotations

import secrets
from urllib.parse import urlsplit

import httpx2

from personal_verify.answers import Page, json_in, null_members, shape
from personal_verify.apps import App
from personal_verify.checks import KEEP_FRAMING, LETS_IN, RENEW, Skipped, check, expect, pass_on
from personal_verify.known import BROWSER, CLAUDE, CLAUDE_DOCUMENT, FOREIGN, LOOPBACK
from personal_verify.signin import (
    allowed_app,
    app_in,
    ask,
    refuse_code,
    registered,
    shown_page,
    submit,
)
from personal_verify.visit import Visit


@check("stranger.register", "Clients can register themselves")
def _(visit: Visit) -> str:
    if not visit.ours and not can_introduce(visit):
        visit.newcomer = App(CLAUDE_DOCUMENT, CLAUDE)
        return "not by themselves: Claude's document is named instead"
    response = visit.register(CLAUDE)
    answer = json_in(response)
    expect(
        response.status_code == 201 and isinstance(answer, dict),
        f"POST /register is answered with {shape(response)}, not with 201.",
        "Let the proxy or tunnel pass POST requests to /register, without a limit on them.",
    )
    client_id, nulls = answer.get("client_id"), null_members(answer)
    expect(isinstance(client_id, str) and client_id, "The answer has no client_id.", RENEW)
    expect(answer.get("redirect_uris") == [CLAUDE], "The answer lacks the redirect_uris.", RENEW)
    expect(not nulls, f"The answer has null members: {', '.join(nulls)}.", RENEW)
    visit.newcomer = app_in(answer, CLAUDE)
    return f"201, a client_id of {len(client_id)} characters"


def can_introduce(visit: Visit) -> bool:
    """Tells whether clients can register themselves; False when they name a document instead.

    Raises:
        Skipped: There is no sign-in to judge.
    """
    found = visit.found
    if not found.server_at:
        raise Skipped("no sign-in can be discovered")
    if found.elsewhere:
        raise Skipped(f"the sign-in is at {found.elsewhere}, which others answer for")
    if found.endpoint("registration"):
        return True
    if found.takes_documents:
        return False
    raise Skipped("clients can neither register themselves nor name a document")


@check("stranger.token", "A stranger gets no token", "stranger.register")
def _(visit: Visit) -> str:
    attempts = (LOOPBACK, CLAUDE, FOREIGN)
    visit.each(attempts, lambda callback: break_in(visit, callback))
    return f"{len(attempts)} attempts, no code and no token"


def break_in(visit: Visit, callback: str) -> None:
    """Does what anybody can do to get a token.

    Raises:
        Failed: It has worked.
    """
    app, browser = registered(visit, callback), visit.new_client(BROWSER)
    address, decision = visit.endpoint("authorization"), {"decision": "approve"}
    asked = ask(visit, app.question(), browser)
    refuse_code(asked, f"GET /authorize for {callback}")
    for where, form in ((app.question(), decision), ({}, {**app.question(), **decision})):
        bare = visit.send("POST", address, browser, params=where, data=form)
        refuse_code(bare, f"POST /authorize for {callback}")
    page = Page(asked)
    if page.asks:
        approved = submit(visit, browser, page, decision="approve")
        refuse_code(approved, f"Approve for {callback}, without a password,")
    made_up = visit.redeem(app, secrets.token_urlsafe(32))
    expect(
        not made_up.is_success,
        f"POST /token with a made-up code is answered with {shape(made_up)}.",
        LETS_IN,
    )


@check("stranger.page", "It asks for the owner's approval", "stranger.token", ours=True)
def _(visit: Visit) -> str:
    if visit.shown is None:
        visit.shown = allowed_app(visit)
    visit.app, response = visit.shown
    page = Page(response)
    post = [form.get("method", "").lower() for form in page.forms] == ["post"]
    buttons = sorted(page.decisions)
    expect(post, "The page must hold one form, with method post.", RENEW)
    asked = "The page asks neither for the password, once, nor for a passkey."
    expect(page.proof, asked, RENEW)
    expect(buttons == ["approve", "deny"], f"The page's decisions are {buttons}.", RENEW)
    return f"{page.proof}, approve, deny; to {urlsplit(visit.app.callback).hostname}"


@check("stranger.button", "Approve can lead back to the app", "stranger.register")
def _(visit: Visit) -> str:
    policy = headers_of(visit).get("content-security-policy", "")
    expect(
        "form-action" not in policy,
        "Content-Security-Policy has form-action, so that Approve does nothing in browsers.",
        "Remove the Content-Security-Policy that the proxy or tunnel adds.",
    )
    return "no form-action in the policy"


@check("stranger.framing", "No other site can frame the page", "stranger.register")
def _(visit: Visit) -> str:
    headers = headers_of(visit)
    policy, option = headers.get("content-security-policy", ""), headers.get("x-frame-options", "")
    expect(
        "frame-ancestors 'none'" in policy or option.upper() == "DENY",
        "Another site may show the page in a frame and catch the click on Approve.",
        KEEP_FRAMING,
    )
    return "neither seen nor clicked from elsewhere"


@check("stranger.caching", "No cache keeps the page", "stranger.register", ours=True)
def _(visit: Visit) -> str:
    kept = "no-store" not in headers_of(visit).get("cache-control", "")
    expect(not kept, "Caches may keep the page.", pass_on("Cache-Control"))
    return "no-store"


def headers_of(visit: Visit) -> httpx2.Headers:
    """Returns the headers of the page; raises as `shown_page` does."""
    return shown_page(visit)[1].headers
