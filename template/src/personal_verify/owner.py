"""Can the owner approve a client, and does a code do what it should?"""

from __future__ import annotations

import secrets
import time

import httpx2

from personal_verify.answers import Page, is_refusal, sent_back, shape
from personal_verify.apps import App
from personal_verify.checks import RENEW, Skipped, check, expect, pass_on
from personal_verify.known import BROWSER
from personal_verify.project import command
from personal_verify.signin import app_to_approve, ask, refuse_code, submit
from personal_verify.tokens import token_answer
from personal_verify.visit import Visit

REPLAY_GRACE_SECONDS = 8.0  # a code presented again later than 10 s revokes its connection


@check("owner.sign_in", "The owner signs in and approves", "stranger.page", "metadata.issuer")
def _(visit: Visit) -> str:
    password = visit.proof.password
    if password is None:
        raise Skipped(visit.proof.why_not)
    app, browser = app_to_approve(visit), visit.new_client(BROWSER)
    page = Page(ask(visit, app.question(), browser))
    wrong = submit(visit, browser, page, password=secrets.token_urlsafe(12), decision="approve")
    refuse_waiting(wrong)
    refuse_code(wrong, "A wrong password")
    again = Page(wrong)
    page = again if again.asks else page
    right = submit(visit, browser, page, password=password, decision="approve")
    refuse_waiting(right)
    expect(
        not Page(right).asks,
        f"The server does not take this password ({shape(right)}).",
        f"Give the owner's password; `uv run {command()} password` sets a new one.",
    )
    visit.code, visit.browser = code_in(visit, right), browser
    return "code, state and iss; no wrong password"


@check("owner.token", "The code becomes a token", "owner.sign_in")
def _(visit: Visit) -> str:
    response = visit.redeem(app_to_approve(visit), visit.code)
    answer, caching = token_answer(response), response.headers.get("cache-control", "")
    expect("no-store" in caching, "Caches may keep the token.", pass_on("Cache-Control"))
    return f"a {answer['token_type']} token for {answer['expires_in'] / 86400:.3g} days"


@check("owner.code_once", "A code works only once", "owner.token")
def _(visit: Visit) -> str:
    if time.monotonic() - visit.granted[0].at > REPLAY_GRACE_SECONDS:
        raise Skipped("the server answers too slowly: a late replay would end the connection")
    response = visit.redeem(app_to_approve(visit), visit.code)
    expect(
        is_refusal(response, "invalid_grant"),
        f"The same code is answered a second time with {shape(response)}, not invalid_grant.",
        RENEW,
    )
    return "invalid_grant the second time"


@check("owner.verifier", "A stolen code is worthless", "owner.token")
def _(visit: Visit) -> str:
    assert visit.browser is not None, "owner.sign_in has passed"
    app = App(app_to_approve(visit).id, app_to_approve(visit).callback)
    page = Page(ask(visit, app.question(), visit.browser))
    expect(page.asks, "A second request for approval shows no page.", RENEW)
    proof = {"password": visit.proof.password or ""} if page.passwords else {}
    code = code_in(visit, submit(visit, visit.browser, page, decision="approve", **proof))
    for verifier, what in ((secrets.token_urlsafe(48), "that"), (app.verifier, "the right")):
        expect(
            is_refusal(visit.redeem(app, code, verifier), "invalid_grant"),
            f"A code that was tried with a wrong verifier is redeemed with {what} one.",
            RENEW,
        )
    return "burned by a wrong verifier"


def refuse_waiting(response: httpx2.Response) -> None:
    wait = response.headers.get("retry-after", "a few")
    cause = "Too many wrong passwords were tried, so every sign-in has to wait."
    expect(response.status_code != 429, cause, f"Wait {wait} s, then start again.")


def code_in(visit: Visit, response: httpx2.Response) -> str:
    """Returns the code that an approval sends to the client.

    Raises:
        Failed: The redirect is not what clients take (RFC 6749 §4.1.2, RFC 9207).
    """
    app, answer = app_to_approve(visit), sent_back(response)
    where, iss = response.headers.get("location", ""), answer.get("iss")
    expect(
        response.status_code == 303,
        f"Approve is answered with {shape(response)}, where clients need 303.",
        pass_on("redirects"),
    )
    expect(where.startswith(f"{app.callback}?"), f"Approve leads to {where}.", RENEW)
    expect(answer.get("code"), "Approve sends no code.", RENEW)
    expect(answer.get("state") == "verify", "Approve does not send our state back.", RENEW)
    expect(iss == visit.url, f"iss is {iss}, not {visit.url}, which Claude Code refuses.", RENEW)
    return answer["code"]
