"""What does somebody get who is not the owner?"""

from __future__ import annotations

import re
import secrets
from urllib.parse import urlsplit

import httpx2

from personal_verify.answers import Page, is_refusal, json_in, null_members, sent_back, shape
from personal_verify.apps import App
from personal_verify.checks import LETS_IN, RENEW, Failed, check, expect, pass_on
from personal_verify.known import (
    BROWSER,
    CLAUDE,
    FOREIGN,
    LOOPBACK,
    SERVER_METADATA,
)
from personal_verify.signin import (
    allowed_app,
    app_to_approve,
    ask,
    refuse_code,
    registered,
    submit,
)
from personal_verify.visit import Visit


@check("stranger.register", "Clients can register themselves")
def _(visit: Visit) -> str:
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
    return f"201, a client_id of {len(client_id)} characters"


@check("stranger.challenge", "Without a token it asks for one")
def _(visit: Visit) -> str:
    requests = [f"{m} {p}" for p in ("/mcp", "/mcp/") for m in ("POST", "GET", "HEAD", "DELETE")]
    for asked, response in visit.each(requests, lambda asked: visit.begin(*asked.split())):
        challenge = response.headers.get("www-authenticate", "")
        expect(
            not response.is_redirect,
            f"{asked} is redirected to {response.headers.get('location')}.",
            "Let the proxy or tunnel neither add nor remove a slash.",
        )
        expect(
            response.status_code == 401,
            f"{asked} without a token is answered with status {response.status_code}, not 401.",
            f"{pass_on(asked)[:-1]}; if the answer is the server's own, its authorization is off.",
        )
        expect(
            re.match(r'Bearer .*resource_metadata="', challenge),
            f"WWW-Authenticate of {asked} is {challenge!r}, without resource_metadata.",
            pass_on("the header WWW-Authenticate"),
        )
    return "401 with resource_metadata, 8 times"


@check("stranger.token", "A stranger gets no token", "stranger.register")
def _(visit: Visit) -> str:
    for callback in (LOOPBACK, CLAUDE, FOREIGN):
        app, browser = registered(visit, callback), visit.new_client(BROWSER)
        asked = ask(visit, app.question(), browser)
        refuse_code(asked, f"GET /authorize for {callback}")
        address, decision = visit.endpoint("authorization"), {"decision": "approve"}
        bare = visit.send("POST", address, browser, params=app.question(), data=decision)
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
    return "3 attempts, no code and no token"


@check("stranger.code", "A made-up code is refused properly", "stranger.register")
def _(visit: Visit) -> str:
    response = visit.redeem(registered(visit, CLAUDE), secrets.token_urlsafe(32))
    if response.is_success:
        return "accepted, see stranger.token"
    expect(
        is_refusal(response, "invalid_grant"),
        f"A made-up code is answered with {shape(response)}, where clients need status 400 with"
        " invalid_grant to sign in anew.",
        RENEW,
    )
    return "400, invalid_grant"


@check("stranger.page", "It asks for the owner's approval", "stranger.token", ours=True)
def _(visit: Visit) -> str:
    app, response = allowed_app(visit)
    page, headers = Page(response), response.headers
    policy, caching = headers.get("content-security-policy", ""), headers.get("cache-control", "")
    framing = "frame-ancestors 'none'" in policy or headers.get("x-frame-options") == "DENY"
    post = [form.get("method", "").lower() for form in page.forms] == ["post"]
    buttons = sorted(page.decisions)
    expect(post, "The page must hold one form, with method post.", RENEW)
    expect(page.passwords == ["password"], "The page does not ask for the password once.", RENEW)
    expect(buttons == ["approve", "deny"], f"The page's decisions are {buttons}.", RENEW)
    expect(
        "form-action" not in policy,
        "Content-Security-Policy has form-action, so that Approve does nothing in browsers.",
        "Remove the Content-Security-Policy that the proxy or tunnel adds.",
    )
    expect(
        framing,
        "Another site may show the page in a frame and catch the click on Approve.",
        pass_on("the headers Content-Security-Policy and X-Frame-Options"),
    )
    expect("no-store" in caching, "Caches may keep the page.", pass_on("Cache-Control"))
    visit.app = app
    return f"password, approve, deny; to {urlsplit(app.callback).hostname}"


def foreign_apps(visit: Visit) -> list[App]:
    """Returns clients whose codes would go to a stranger's site, the first not registered so."""
    hosts = ("stranger.example", "claude.ai.stranger.example", "claude.ai@stranger.example")
    apps = [registered(visit, f"https://{host}/callback") for host in hosts]
    return [App(registered(visit, CLAUDE).id, FOREIGN), *apps]


@check("stranger.redirect", "No code goes to a foreign site", "stranger.register")
def _(visit: Visit) -> str:
    apps = foreign_apps(visit)
    for app, response in visit.each(apps, lambda app: ask(visit, app.question())):
        expect(
            not response.is_success and "code" not in sent_back(response),
            f"/authorize may send a code to {app.callback} ({shape(response)}).",
            "Name only your clients' domains in MCP_ALLOWED_REDIRECT_DOMAINS, then restart.",
        )
    return f"{len(apps)} addresses, none allowed"


@check("stranger.errors", "No error goes to a foreign site", "stranger.register")
def _(visit: Visit) -> str:
    apps = foreign_apps(visit)

    def wrong(app: App) -> httpx2.Response:
        return ask(visit, app.question(response_type="token"))

    for ask_wrongly in (wrong, lambda app: ask(visit, app.question())):
        for _app, response in visit.each(apps, ask_wrongly):
            expect(
                not response.is_redirect or "code" in sent_back(response),
                f"/authorize sends browsers on to {response.headers.get('location')}.",
                RENEW,
            )
    return f"{2 * len(apps)} requests, each refused by a page"


@check("stranger.pkce", "There is no sign-in without PKCE", "stranger.register")
def _(visit: Visit) -> str:
    app = app_to_approve(visit)
    weak = {
        "no challenge": app.question(code_challenge=None, code_challenge_method=None),
        "the method plain": app.question(code_challenge_method="plain"),
        "a challenge of one character": app.question(code_challenge="x"),
    }
    for what, response in visit.each(weak, lambda what: ask(visit, weak[what])):
        accepted = Page(response).asks or "code" in sent_back(response)
        expect(not accepted, f"/authorize accepts a request with {what}.", RENEW)
    return "refused: none, plain, too short"


@check("stranger.bearer", "A made-up token opens nothing")
def _(visit: Visit) -> str:
    message = {"id": 1, "method": "tools/list", "params": {}}
    tokens = (secrets.token_urlsafe(32), "null")
    for _token, response in visit.each(tokens, lambda token: visit.post_mcp(token, message)):
        expect(
            response.status_code == 401,
            f"POST /mcp with a made-up token is answered with {shape(response)}, not 401.",
            LETS_IN if response.is_success else pass_on("the header Authorization"),
        )
    return "401"


@check("stranger.host", "It answers only to its own name")
def _(visit: Visit) -> str:
    try:
        response = visit.send("GET", SERVER_METADATA, headers={"Host": "stranger.example"})
    except Failed:
        return "the connection is closed"
    document = json_in(response)  # another site behind the same proxy may well answer
    expect(
        not (response.is_success and isinstance(document, dict) and "issuer" in document),
        "A request for the host stranger.example is answered as if it were its own.",
        "Let the proxy pass the Host header on as it came, not set to a fixed name.",
    )
    return shape(response)


@check("stranger.origin", "A foreign page gets nothing")
def _(visit: Visit) -> str:
    response = visit.send("POST", "/mcp", headers={"Origin": "https://stranger.example"})
    expect(
        response.status_code == 403,
        f"POST /mcp from a page of a stranger is answered with {shape(response)}, not 403.",
        "Let the proxy pass the Origin header on as it came.",
    )
    return "403"
