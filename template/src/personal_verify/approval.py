"""How the owner approves a client: on the page with the password, or in a browser of theirs."""

from __future__ import annotations

import time

import httpx2

from personal_verify.answers import Page, destination, sent_back, shape
from personal_verify.apps import App, Approval
from personal_verify.browser import listening, send_to, wait_for
from personal_verify.checks import LOG, RENEW, Failed, Skipped, expect
from personal_verify.known import BROWSER
from personal_verify.project import command, is_loopback
from personal_verify.signin import app_to_approve, ask, registered, resource_of, submit
from personal_verify.visit import Visit

MOST_WAIT_SECONDS = 8
ONCE = "you would have to approve once more in your browser; the password checks it"
NOT_FILLED_IN = "your browser shows the page, and this does not fill it in"
NO_FIELD = "its page takes no password: --browser lets you sign in there"


def approve(visit: Visit) -> Approval:
    """Lets the owner approve the client of this visit.

    Raises:
        Skipped: Nobody can or wants to.
        Failed: The approval sends no code.
    """
    refuse_unprotected(visit)
    if visit.proof.by_browser:
        return approve_in_browser(visit)
    password_of(visit)
    app, browser = app_to_approve(visit), visit.new_client(BROWSER)
    approval = approve_by_password(visit, app, browser)
    visit.browser = browser
    return approval


def approve_again(visit: Visit, app: App) -> str:
    """Returns a code for which nobody has to be asked once more.

    Raises:
        Skipped: The owner would have to be.
        Failed: The approval sends no code.
    """
    if visit.proof.by_browser:
        raise Skipped(ONCE)
    return approve_by_password(visit, app, visit.browser or visit.new_client(BROWSER)).code


def password_of(visit: Visit) -> str:
    """Returns the owner's password.

    Raises:
        Skipped: It was not given, or no page takes it.
    """
    if visit.proof.password is None:
        raise Skipped(visit.proof.why_not)
    refuse_unprotected(visit)
    issuer = str(visit.server.get("issuer", visit.url))
    if issuer.rstrip("/") != visit.url:  # the page takes a form only from there
        raise Skipped("needs metadata.issuer")
    if not visit.ours:
        raise Skipped("this server has a sign-in of its own: --browser lets you sign in there")
    return visit.proof.password


def refuse_unprotected(visit: Visit) -> None:
    """Raises Skipped where the password and the tokens would travel without TLS."""
    if not visit.url.startswith("https:") and not is_loopback(visit.url):
        raise Skipped("needs reach.https: without TLS nobody signs in")


def approve_by_password(visit: Visit, app: App, browser: httpx2.Client) -> Approval:
    response = submit_password(visit, app, browser, password_of(visit))
    if response.status_code == 429:
        wait_out(visit, response.headers.get("retry-after", ""))
        response = submit_password(visit, app, browser, password_of(visit))
    refuse_waiting(response)
    expect(
        not Page(response).asks,
        f"The server does not take this password ({shape(response)}).",
        f"Give the owner's password; `uv run {command()} password` sets a new one.",
    )
    answer, where = sent_back(response), response.headers.get("location", "")
    expect(response.is_redirect, f"Approve is answered with {shape(response)}, no redirect.", RENEW)
    expect(
        where.startswith(f"{app.callback}?"), f"Approve leads to {destination(response)}.", RENEW
    )
    expect(answer.get("code"), "Approve sends no code.", RENEW)
    return Approval(answer, app.question()["state"], str(response.status_code))


def submit_password(
    visit: Visit, app: App, browser: httpx2.Client, password: str
) -> httpx2.Response:
    """Fills in the page for a client and chooses Approve.

    Raises:
        Skipped: There is no page that takes a password.
    """
    asked = ask(visit, app.question(), browser)
    page = Page(asked)
    if not page.asks:
        raise Skipped(f"/authorize shows no page on which to approve ({shape(asked)})")
    if not page.passwords and browser is not visit.browser:  # where one may be signed in
        raise Skipped(NO_FIELD)
    fields = {page.passwords[0]: password} if page.passwords else {}
    return submit(visit, browser, page, decision="approve", **fields)


def wait_out(visit: Visit, wait: str) -> None:
    """Waits for as long as a server says after wrong passwords, one of this visit among them."""
    if wait in {str(seconds) for seconds in range(MOST_WAIT_SECONDS + 1)}:
        visit.say(f"Waiting {wait} s, for wrong passwords were tried (Ctrl+C stops)")
        time.sleep(int(wait) + 0.1)


def refuse_waiting(response: httpx2.Response) -> None:
    wait = response.headers.get("retry-after", "a few")
    cause = "Too many wrong passwords were tried, so every sign-in has to wait."
    expect(response.status_code != 429, cause, f"Wait {wait} s, then start again.")


def approve_in_browser(visit: Visit) -> Approval:
    with visit.patience.resting(), listening() as listener:
        visit.app = app = registered(visit, listener.callback)
        question = app.question(state=listener.state, resource=resource_of(visit))
        refuse_closed_way(ask(visit, question), visit)
        address = httpx2.URL(visit.endpoint("authorization")).copy_merge_params(question)
        send_to(visit, str(address))
        returned = wait_for(visit, listener)
    told = returned.answer.get("error")
    if told == "access_denied":
        raise Skipped("it was denied in the browser")
    if told is not None:
        reason = returned.answer.get("error_description") or told
        raise Failed(f"The server answers the approval with {told}: {reason.rstrip('.')}.", LOG)
    return Approval(returned.answer, listener.state, returned.method)


def refuse_closed_way(response: httpx2.Response, visit: Visit) -> None:
    """Raises Failed when no browser may come back to this computer."""
    cure = (
        "Add localhost to MCP_ALLOWED_REDIRECT_DOMAINS (the answer `local` of the template) and"
        " restart, or give the password with --password-file instead of --browser."
    )
    if not visit.ours:
        cure = "Allow http://127.0.0.1 with any port as a redirect URI, as RFC 8252 has it."
    expect(
        response.status_code < 400,
        f"The server lets no browser come back to this computer ({shape(response)}).",
        cure,
    )
