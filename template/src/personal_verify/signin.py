"""Registering a client and asking for approval, as a client and a browser do."""

from __future__ import annotations

from typing import Any
from urllib.parse import urljoin

import httpx2

from personal_verify.answers import Page, json_in, sent_back, shape
from personal_verify.apps import App
from personal_verify.checks import LETS_IN, RENEW, Failed, Skipped, expect
from personal_verify.known import BROWSER, CALLBACKS, CLAUDE_DOCUMENT
from personal_verify.project import setting
from personal_verify.visit import Visit

MOST_REDIRECTS = 5  # before a page


def registered(visit: Visit, callback: str) -> App:
    """Returns a new client, with a made-up id when the server refuses its redirect URI.

    Where nobody can register, it comes as Claude does, with the address of Claude's document.
    """
    if not visit.ours and visit.found.takes_documents and not visit.found.endpoint("registration"):
        return App(CLAUDE_DOCUMENT, callback)
    answer = json_in(visit.register(callback))
    return app_in(answer if isinstance(answer, dict) else {}, callback)


def app_in(answer: dict[str, Any], callback: str) -> App:
    """Returns the client that an answer to a registration describes."""
    client_id, secret = answer.get("client_id"), answer.get("client_secret")
    return App(
        client_id if isinstance(client_id, str) else "refused",
        callback,
        secret if isinstance(secret, str) else "",
    )


def newcomer(visit: Visit) -> App:
    """Returns the client that registered first, and that nobody approves."""
    assert visit.newcomer is not None, "stranger.register has passed"
    return visit.newcomer


def ask(
    visit: Visit, question: dict[str, str], browser: httpx2.Client | None = None
) -> httpx2.Response:
    """Sends a browser to the authorization endpoint."""
    browser = browser or visit.new_client(BROWSER)
    return visit.send("GET", visit.endpoint("authorization"), browser, params=question)


def allowed_app(visit: Visit) -> tuple[App, httpx2.Response]:
    """Returns a client that the owner may approve, and the page that asks for it.

    Raises:
        Failed: None of the known clients may return to itself.
    """
    domains = [domain.strip() for domain in setting("MCP_ALLOWED_REDIRECT_DOMAINS").split(",")]
    own = [f"https://{domain}/callback" for domain in domains if "." in domain]
    for callback in (*CALLBACKS, *own):
        app = registered(visit, callback)
        response = landed(visit, app)
        if Page(response).forms:
            return app, response
    raise Failed(
        f"/authorize shows no page to any known client; its last answer was {shape(response)}.",
        "Name your clients' domains in MCP_ALLOWED_REDIRECT_DOMAINS, for example"
        " claude.ai,claude.com,localhost, then restart.",
    )


def landed(visit: Visit, app: App) -> httpx2.Response:
    """Returns the page to which a request for approval leads, inside the server."""
    browser = visit.new_client(BROWSER)
    response = ask(visit, app.question(), browser)
    for _ in range(MOST_REDIRECTS):
        where = urljoin(str(response.url), response.headers.get("location", ""))
        if visit.ours or not response.is_redirect or not where.startswith(f"{visit.url}/"):
            break
        response = visit.send("GET", where, browser)
    return response


def shown_page(visit: Visit) -> tuple[App, httpx2.Response]:
    """Returns the client that this visit asks for, and the page that asks for it.

    Raises:
        Skipped: None of the known clients may return to itself.
    """
    if visit.shown is None:
        try:
            visit.shown = allowed_app(visit)
        except Failed as failure:
            told = ", see stranger.page" if visit.ours else " of its own with a form"
            raise Skipped(f"/authorize shows no page{told}") from failure
        visit.app = visit.shown[0]
    return visit.shown


def app_to_approve(visit: Visit) -> App:
    """Returns the client that this visit asks for; raises as `shown_page` does."""
    return visit.app or shown_page(visit)[0]


def resource_of(visit: Visit) -> str:
    """Returns what tokens are for: on servers not of this template as the metadata has it."""
    own = f"{visit.url}/mcp"
    return own if visit.ours else str(visit.resource.get("resource", own))


def submit(visit: Visit, browser: httpx2.Client, page: Page, **fields: str) -> httpx2.Response:
    """Sends the form of a page, as a browser does; never to another server."""
    where = urljoin(f"{visit.url}/authorize", page.forms[0].get("action") or "/authorize")
    inside = where.startswith(f"{visit.url}/")
    expect(inside, f"The form leads to {where}, away from the server.", RENEW)
    headers = {"Origin": visit.url, "Sec-Fetch-Site": "same-origin"}
    return visit.send("POST", where, browser, data={**page.hidden, **fields}, headers=headers)


def refuse_code(response: httpx2.Response, what: str) -> None:
    given = "code" in sent_back(response)
    expect(not given, f"{what} is answered with a code, without the owner.", LETS_IN)
