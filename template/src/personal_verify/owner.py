"""Can the owner, and only the owner, approve a client, and is the client told properly?"""

from __future__ import annotations

import secrets

from personal_verify.answers import Page, is_html, sent_back, shape
from personal_verify.approval import NOT_FILLED_IN, approve, password_of, submit_password
from personal_verify.checks import LETS_IN, RENEW, Skipped, check, expect, pass_on
from personal_verify.known import BROWSER
from personal_verify.signin import app_to_approve, ask, refuse_code, submit
from personal_verify.visit import Visit

METADATA = ("metadata.server", "metadata.resource")  # where to sign in, and to what


@check("owner.wrong_password", "A wrong password approves nothing", after=METADATA)
def _(visit: Visit) -> str:
    if visit.proof.by_browser:
        raise Skipped(NOT_FILLED_IN)
    password_of(visit)
    app, browser = app_to_approve(visit), visit.new_client(BROWSER)
    response = submit_password(visit, app, browser, secrets.token_urlsafe(12))
    if response.status_code == 429:
        raise Skipped("too many wrong passwords were tried: every sign-in has to wait")
    refuse_code(response, "A wrong password")
    expect(
        Page(response).asks,
        f"A wrong password is answered with {shape(response)}, no page to try again.",
        RENEW,
    )
    return "the page asks again"


@check("owner.sign_in", "The owner signs in and approves", after=METADATA)
def _(visit: Visit) -> str:
    visit.approval = approve(visit)
    return "in your browser" if visit.proof.by_browser else "with the password"


@check("owner.see_other", "Approve sends browsers on", "owner.sign_in")
def _(visit: Visit) -> str:
    how = visit.approved.how
    expect(
        how in {"303", "GET"},
        f"Approve sends browsers on by {how}, where clients need 303 and GET.",
        pass_on("redirects"),
    )
    return "by GET" if how == "GET" else "303"


@check("owner.state", "The client's state comes back", "owner.sign_in")
def _(visit: Visit) -> str:
    told, sent = visit.approved.answer.get("state"), visit.approved.state
    expect(told == sent, "Approve does not send the client's state back.", RENEW)
    return "as it was sent"


@check("owner.iss", "The answer names who gives it", "owner.sign_in")
def _(visit: Visit) -> str:
    iss = visit.approved.answer.get("iss")
    expect(is_issuer(visit, iss), f"iss is {iss}, not {visit.url}: Claude Code refuses it.", RENEW)
    return f"iss is {iss}"


@check("owner.deny", "The owner may say no", "owner.sign_in", ours=True)
def _(visit: Visit) -> str:
    app, browser = app_to_approve(visit), visit.browser or visit.new_client(BROWSER)
    asked = ask(visit, app.question(), browser)
    page = Page(asked)
    expect(page.asks, f"A second request for approval is answered with {shape(asked)}.", RENEW)
    response = submit(visit, browser, page, decision="deny")
    answer = sent_back(response)
    expect("code" not in answer, "Deny is answered with a code.", LETS_IN)
    if response.status_code == 200 and is_html(response) and not Page(response).forms:
        raise Skipped("every host is allowed, so only a signed-in owner's no reaches the client")
    expect(
        answer.get("error") == "access_denied",
        f"Deny is answered with {shape(response)}, without access_denied for the client.",
        RENEW,
    )
    state, iss = answer.get("state"), answer.get("iss")
    expect(state == "verify", "Deny does not send the client's state back.", RENEW)
    expect(is_issuer(visit, iss), f"Deny sends iss {iss}, not {visit.url}.", RENEW)
    return "access_denied, state and iss"


def is_issuer(visit: Visit, iss: str | None) -> bool:
    return iss is not None and iss in {visit.url, visit.server.get("issuer")}
