"""Does /authorize keep away from foreign sites, and foreign pages from it?"""

from __future__ import annotations

from urllib.parse import urljoin

import httpx2

from personal_verify.answers import Page, destination, sent_back, shape
from personal_verify.apps import App
from personal_verify.checks import RENEW, Skipped, check, expect, pass_on
from personal_verify.known import BROWSER, CLAUDE, FOREIGN, LOOPBACK
from personal_verify.signin import app_to_approve, ask, newcomer, registered, submit
from personal_verify.visit import Visit

# Each looks, to one reader of addresses or another, like a client's.
TRICKS = (
    FOREIGN,
    "https://claude.ai.stranger.example/callback",
    "https://claude.ai@stranger.example/callback",
    "https://claude.ai:443@stranger.example/callback",
    "https://stranger.example\\@claude.ai/callback",
    "https://claude.ai\\.stranger.example/callback",
    "https://claude.ai%2f@stranger.example/callback",
    "https://stranger.example/https://claude.ai/api/mcp/auth_callback",
    "https://stranger.example?https://claude.ai/api/mcp/auth_callback",
    "https://strangerclaude.ai/callback",
    "https://claude.ai\uff0estranger.example/callback",
    "http://localhost.stranger.example/callback",
    "http://stranger.example/callback",
    "//stranger.example/callback",
    "javascript:alert(1)//claude.ai",
    "data:text/html,claude.ai",
)
# A client's own host, but what arrives there is not safe.
UNSAFE = ("http://claude.ai/api/mcp/auth_callback", f"{CLAUDE}#stranger.example")


def foreign_answers(visit: Visit) -> list[tuple[App, httpx2.Response]]:
    """Returns how /authorize answers clients whose codes would go to a stranger's site.

    The first is registered for another address than it asks for.
    """
    if not visit.foreign:
        uris = (*TRICKS, *UNSAFE)
        apps = [app for _, app in visit.each(uris, lambda uri: registered(visit, uri))]
        apps.insert(0, App(newcomer(visit).id, FOREIGN))
        browser = visit.new_client(BROWSER)
        visit.foreign = visit.each(apps, lambda app: ask(visit, app.question(), browser))
    return visit.foreign


@check("stranger.redirect", "No code goes to a foreign site", "stranger.register")
def _(visit: Visit) -> str:
    for app, response in foreign_answers(visit):
        expect(
            not response.is_success and "code" not in sent_back(response),
            f"/authorize may send a code to {app.callback} ({shape(response)}).",
            "Name only your clients' domains in MCP_ALLOWED_REDIRECT_DOMAINS, then restart.",
        )
    return f"{len(visit.foreign)} addresses, none allowed"


@check("stranger.errors", "No error goes to a foreign site", "stranger.register")
def _(visit: Visit) -> str:
    browser = visit.new_client(BROWSER)

    def wrong(app: App) -> httpx2.Response:
        return ask(visit, app.question(response_type="token"), browser)

    asked = foreign_answers(visit)
    for _app, response in (*asked, *visit.each([app for app, _ in asked], wrong)):
        where = urljoin(f"{visit.url}/authorize", response.headers.get("location", ""))
        inside = f"{where}/".startswith(f"{visit.url}/")
        expect(
            not response.is_redirect or inside or "code" in sent_back(response),
            f"/authorize sends browsers on to {destination(response)}.",
            RENEW,
        )
    return f"{2 * len(asked)} requests, each refused by a page"


@check("stranger.pkce", "There is no sign-in without PKCE", "stranger.register")
def _(visit: Visit) -> str:
    app = app_to_approve(visit) if visit.ours else welcome(visit)
    weak = {
        "no challenge": app.question(code_challenge=None, code_challenge_method=None),
        "the method plain": app.question(code_challenge_method="plain"),
        "a challenge of one character": app.question(code_challenge="x"),
        "a challenge that is no base64url": app.question(code_challenge="+/" * 21 + "="),
    }
    browser = visit.new_client(BROWSER)
    for what, response in visit.each(weak, lambda what: ask(visit, weak[what], browser)):
        expect(not leads_on(response), f"/authorize accepts a request with {what}.", RENEW)
    return "refused: none, plain, too short, made up"


def leads_on(response: httpx2.Response) -> bool:
    """Tells whether a browser gets nearer to a code: a form, or a redirect without an error."""
    if response.is_redirect:
        return "error" not in sent_back(response)
    return response.is_success and bool(Page(response).forms)


def welcome(visit: Visit) -> App:
    """Returns a client that gets on with a proper request.

    Raises:
        Skipped: There is none.
    """
    for callback in (CLAUDE, LOOPBACK):
        app = registered(visit, callback)
        if leads_on(ask(visit, app.question())):
            return app
    raise Skipped("/authorize leads no known client on")


@check("stranger.forgery", "No foreign page can approve", "stranger.page", ours=True)
def _(visit: Visit) -> str:
    app, browser = app_to_approve(visit), visit.new_client(BROWSER)
    page = Page(ask(visit, app.question(), browser))
    forged = {
        "a foreign page": {"Origin": "https://stranger.example"},
        "a page without an address": {"Origin": "null"},
        "nobody knows where": {},
        "another site": {"Sec-Fetch-Site": "cross-site"},
    }

    def press(what: str) -> httpx2.Response:
        fields = {**page.hidden, "decision": "deny"}  # which needs no password
        address = visit.endpoint("authorization")
        return visit.send("POST", address, browser, data=fields, headers=forged[what])

    for what, response in visit.each(forged, press):
        expect(
            400 <= response.status_code < 500,
            f"A decision sent from {what} is answered with {shape(response)}, not refused.",
            pass_on("the headers Origin and Sec-Fetch-Site"),
        )
    return f"{len(forged)} forgeries refused"


@check("stranger.ticket", "Only the browser asked may decide", "stranger.page", ours=True)
def _(visit: Visit) -> str:
    page = Page(ask(visit, app_to_approve(visit).question()))
    response = submit(visit, visit.new_client(BROWSER), page, decision="deny")
    expect(
        400 <= response.status_code < 500,
        f"A page shown to one browser is taken from another, with {shape(response)}.",
        pass_on("cookies, each to its own browser,"),
    )
    return "refused from another"
