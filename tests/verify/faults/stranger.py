"""Ways in which a stranger gets in, or is answered wrongly."""

from __future__ import annotations

import base64
import hashlib
import re

from tests.verify.faults.making import (
    Answering,
    Asking,
    Changing,
    Site,
    asking,
    at,
    breaks,
    deciding,
    exactly,
    for_loopback,
    granting,
    replacing,
    with_members,
    without,
)
from tests.verify.proxy import Answer, Asked, Fault, html_answer, json_answer, redirect


@breaks("stranger.register", "registration is switched off")
def _(site: Site) -> Fault:
    return Answering(at("/register"), lambda asked: Answer(404))


@breaks("stranger.register", "a registration gives no client_id")
def _(site: Site) -> Fault:
    return Changing(at("/register"), with_members(client_id=...))


@breaks("stranger.challenge", "the challenge is stripped")
def _(site: Site) -> Fault:
    return Changing(at("/mcp"), without("www-authenticate"))


@breaks("stranger.challenge", "GET needs no token")
def _(site: Site) -> Fault:
    return Answering(exactly("GET", "/mcp"), lambda asked: Answer(200))


@breaks("stranger.challenge", "HEAD is not allowed")
def _(site: Site) -> Fault:
    return Answering(exactly("HEAD", "/mcp"), lambda asked: Answer(405))


@breaks("stranger.slash", "a slash at the end is redirected")
def _(site: Site) -> Fault:
    return Answering(
        lambda asked: asked.path == "/mcp/", lambda asked: redirect(307, f"{site.url}/mcp")
    )


@breaks("stranger.token", "everybody is approved at once", "stranger.redirect")
def _(site: Site) -> Fault:
    return Answering(
        asking, lambda asked: redirect(302, f"{asked.query['redirect_uri']}?code=pac_made&state=s")
    )


@breaks("stranger.token", "Approve works without a password")
def _(site: Site) -> Fault:
    back = redirect(303, "https://claude.ai/api/mcp/auth_callback?code=pac_made")
    return Answering(lambda asked: deciding(asked) and "password" not in asked.form, lambda _: back)


@breaks("stranger.token", "any code gets a token")
def _(site: Site) -> Fault:
    tokens = {"access_token": "pat_made", "refresh_token": "prt_made", "token_type": "Bearer"}
    return Answering(granting("authorization_code"), lambda asked: json_answer(200, tokens))


@breaks("stranger.button", "form-action makes Approve do nothing")
def _(site: Site) -> Fault:
    def change(answer: Answer) -> None:
        policy = answer.headers.get("content-security-policy", "")
        answer.headers["content-security-policy"] = f"{policy}; form-action 'self'"

    return Changing(asking, change)


@breaks("stranger.framing", "the page can be framed")
def _(site: Site) -> Fault:
    return Changing(asking, without("content-security-policy", "x-frame-options"))


@breaks("stranger.page", "the page cannot be denied")
def _(site: Site) -> Fault:
    return Changing(asking, replacing('<button[^>]*value="deny".*?</button>', ""))


@breaks("stranger.page", "the page asks for no password")
def _(site: Site) -> Fault:
    return Changing(asking, replacing('type="password"', 'type="text"'))


@breaks("stranger.page", "no known client may return")
def _(site: Site) -> Fault:
    return Answering(asking, lambda asked: html_answer(400, "This app may not connect"))


def is_foreign(asked: Asked) -> bool:
    return asking(asked) and "stranger.example" in asked.query.get("redirect_uri", "")


@breaks("stranger.errors", "errors are sent to whoever asks")
def _(site: Site) -> Fault:
    def give(asked: Asked) -> Answer:
        return redirect(302, f"{asked.query['redirect_uri']}?error=invalid_request")

    return Answering(is_foreign, give)


@breaks("stranger.redirect", "a host that begins with an allowed one is allowed")
def _(site: Site) -> Fault:
    def when(asked: Asked) -> bool:
        return "claude.ai.stranger.example" in asked.query.get("redirect_uri", "")

    return Answering(when, lambda asked: html_answer(200, "Connect an app?"))


def own_challenge(asked: Asked) -> None:
    """Makes a request pass that has no proper PKCE."""
    challenge = base64.urlsafe_b64encode(hashlib.sha256(b"x").digest()).decode().rstrip("=")
    asked.query |= {"code_challenge": challenge, "code_challenge_method": "S256"}


@breaks("stranger.pkce", "the method plain is accepted")
def _(site: Site) -> Fault:
    return Asking(lambda asked: asked.query.get("code_challenge_method") == "plain", own_challenge)


@breaks("stranger.pkce", "PKCE may be left out")
def _(site: Site) -> Fault:
    return Asking(
        lambda asked: for_loopback(asked) and "code_challenge" not in asked.query, own_challenge
    )


@breaks("stranger.bearer", "a made-up token is accepted")
def _(site: Site) -> Fault:
    def when(asked: Asked) -> bool:
        return not asked.headers.get("authorization", "Bearer pat_").startswith("Bearer pat_")

    return Answering(when, lambda asked: json_answer(200, {"jsonrpc": "2.0", "result": {}}))


@breaks("stranger.host", "the proxy sets the Host itself")
def _(site: Site) -> Fault:
    own = site.url.removeprefix("http://")
    return Asking(lambda asked: True, lambda asked: asked.headers.update(host=own))


@breaks("stranger.origin", "a foreign Origin is not looked at")
def _(site: Site) -> Fault:
    own = {"origin": site.url}
    return Asking(
        lambda asked: at("/mcp")(asked) and "stranger" in asked.headers.get("origin", ""),
        lambda asked: asked.headers.update(own),
    )


@breaks("stranger.code", "a made-up code is refused as if the client were unknown")
def _(site: Site) -> Fault:
    refused = json_answer(401, {"error": "invalid_client"})
    return Answering(
        lambda asked: granting("authorization_code")(asked) and "pac_" not in asked.form["code"],
        lambda asked: refused,
    )


@breaks("stranger.code", "a refused code comes with status 401")
def _(site: Site) -> Fault:
    def when(asked: Asked) -> bool:
        return granting("authorization_code")(asked) and "pac_" not in asked.form["code"]

    def change(answer: Answer) -> None:
        answer.status = 401 if answer.json["error"] == "invalid_grant" else answer.status

    return Changing(when, change)


def made_up_refresh(asked: Asked) -> bool:
    return granting("refresh_token")(asked) and "prt_" not in asked.form["refresh_token"]


@breaks("stranger.refresh", "a made-up refresh token gets tokens")
def _(site: Site) -> Fault:
    tokens = {"access_token": "made_up", "token_type": "Bearer", "expires_in": 3600}
    return Answering(made_up_refresh, lambda asked: json_answer(200, tokens))


@breaks("stranger.refresh", "a made-up refresh token is refused with 401")
def _(site: Site) -> Fault:
    refused = json_answer(401, {"error": "invalid_grant"})
    return Answering(made_up_refresh, lambda asked: refused)


@breaks("stranger.client", "a client that is lost is not told to register anew")
def _(site: Site) -> Fault:
    def change(answer: Answer) -> None:
        if answer.json.get("error") == "invalid_client":
            answer.status, answer.json = 401, {"error": "unauthorized_client"}

    return Changing(granting("authorization_code"), change)


@breaks("stranger.revoke", "anybody may revoke")
def _(site: Site) -> Fault:
    return Answering(
        lambda asked: asked.path == "/revoke" and "client_id" not in asked.form,
        lambda asked: json_answer(200, {}),
    )


@breaks("stranger.revoke", "it is told whether a token exists")
def _(site: Site) -> Fault:
    def when(asked: Asked) -> bool:
        return asked.path == "/revoke" and not asked.form["token"].startswith("p")

    return Answering(when, lambda asked: json_answer(400, {"error": "invalid_token"}))


def asking_nothing(asked: Asked) -> bool:
    return exactly("POST", "/token")(asked) and not asked.form


@breaks("stranger.form", "an error is a page")
def _(site: Site) -> Fault:
    return Answering(asking_nothing, lambda asked: html_answer(400))


@breaks("stranger.form", "a body that is no JSON brings the registration down")
def _(site: Site) -> Fault:
    error = json_answer(500, {"error": "server_error"})
    return Answering(
        lambda asked: asked.path == "/register" and asked.body == b"{", lambda _: error
    )


@breaks("stranger.form", "an error has a null member")
def _(site: Site) -> Fault:
    def change(answer: Answer) -> None:
        answer.json = {**answer.json, "error_uri": None}

    return Changing(asking_nothing, change)


@breaks("stranger.slash", "what ends with a slash is not found")
def _(site: Site) -> Fault:
    missing = json_answer(404, {"error": "not_found"})
    return Answering(lambda asked: asked.path == "/mcp/", lambda asked: missing)


@breaks("stranger.methods", "PUT needs no token")
def _(site: Site) -> Fault:
    return Answering(exactly("PUT", "/mcp"), lambda asked: json_answer(200, {"result": {}}))


@breaks("stranger.methods", "PATCH brings the server down")
def _(site: Site) -> Fault:
    return Answering(exactly("PATCH", "/mcp"), lambda asked: Answer(500))


@breaks("stranger.bearer", "a name and a password are let in")
def _(site: Site) -> Fault:
    return Answering(
        lambda asked: asked.headers.get("authorization", "").startswith("Basic"),
        lambda asked: json_answer(200, {"jsonrpc": "2.0", "result": {}}),
    )


@breaks("stranger.bearer", "an empty token brings the server down")
def _(site: Site) -> Fault:
    return Answering(
        lambda asked: asked.headers.get("authorization", "-") in {"Bearer", ""},
        lambda asked: Answer(500),
    )


@breaks("stranger.query", "a token may stand in the address")
def _(site: Site) -> Fault:
    def change(asked: Asked) -> None:
        asked.headers["authorization"] = f"Bearer {asked.query['access_token']}"

    return Asking(lambda asked: "access_token" in asked.query, change)


@breaks("stranger.forwarded", "the address is what a header says")
def _(site: Site) -> Fault:
    def when(asked: Asked) -> bool:
        return at("/.well-known/")(asked) and "x-forwarded-host" in asked.headers

    return Changing(when, replacing(re.escape(site.url), "https://stranger.example"))


@breaks("stranger.forwarded", "the challenge names what a header says")
def _(site: Site) -> Fault:
    def change(answer: Answer) -> None:
        challenge = answer.headers["www-authenticate"]
        answer.headers["www-authenticate"] = challenge.replace(site.url, "https://stranger.example")

    return Changing(lambda asked: "forwarded" in asked.headers, change)


@breaks("stranger.host", "only the endpoint answers for every name")
def _(site: Site) -> Fault:
    own = site.url.removeprefix("http://")
    return Asking(at("/mcp"), lambda asked: asked.headers.update(host=own))


@breaks("stranger.origin", "a page without an address may use the server")
def _(site: Site) -> Fault:
    return Asking(
        lambda asked: asked.headers.get("origin") == "null" and asked.path == "/mcp",
        lambda asked: asked.headers.update(origin=site.url),
    )


@breaks("stranger.redirect", "a client's host is allowed without TLS")
def _(site: Site) -> Fault:
    def when(asked: Asked) -> bool:
        return asking(asked) and asked.query.get("redirect_uri", "").startswith("http://claude.ai")

    return Answering(when, lambda asked: html_answer(200, "Connect an app?"))


@breaks("stranger.redirect", "an address may hold another one before an @")
def _(site: Site) -> Fault:
    def when(asked: Asked) -> bool:
        return asking(asked) and "claude.ai@" in asked.query.get("redirect_uri", "")

    return Answering(when, lambda asked: html_answer(200, "Connect an app?"))


@breaks("stranger.redirect", "a script is an address")
def _(site: Site) -> Fault:
    def when(asked: Asked) -> bool:
        uri = asked.query.get("redirect_uri", "")
        return uri.startswith("javascript:") and asked.query["response_type"] == "code"

    return Answering(when, lambda asked: redirect(302, f"{asked.query['redirect_uri']}?code=made"))


@breaks("stranger.errors", "a wrong request is sent back to wherever it came from")
def _(site: Site) -> Fault:
    def when(asked: Asked) -> bool:
        return is_foreign(asked) and asked.query["response_type"] == "token"

    return Answering(
        when, lambda asked: redirect(302, f"{asked.query['redirect_uri']}?error=invalid_request")
    )


@breaks("stranger.pkce", "any challenge will do")
def _(site: Site) -> Fault:
    return Asking(lambda asked: "+" in asked.query.get("code_challenge", ""), own_challenge)


@breaks("stranger.forgery", "whatever page sends the form is taken for ours")
def _(site: Site) -> Fault:
    return Asking(deciding, lambda asked: asked.headers.update(origin=site.url))


@breaks("stranger.forgery", "a form from nowhere is taken for ours")
def _(site: Site) -> Fault:
    return Asking(
        lambda asked: deciding(asked) and not {"origin", "sec-fetch-site"} & set(asked.headers),
        lambda asked: asked.headers.update(origin=site.url),
    )


@breaks("stranger.ticket", "the cookies of one browser are given to another")
def _(site: Site) -> Fault:
    return SharedCookies()


class SharedCookies(Fault):
    """Gives a browser without cookies those of the one before."""

    def __init__(self) -> None:
        self.cookie = ""

    def before(self, asked: Asked) -> None:
        if deciding(asked) and "cookie" not in asked.headers:
            asked.headers["cookie"] = self.cookie

    def after(self, asked: Asked, answer: Answer) -> None:
        if asking(asked) and "set-cookie" in answer.headers:
            self.cookie = answer.headers["set-cookie"].partition(";")[0]


@breaks("stranger.caching", "the page may be cached")
def _(site: Site) -> Fault:
    return Changing(asking, without("cache-control"))


@breaks("stranger.token", "Approve works wherever the request stands")
def _(site: Site) -> Fault:
    back = redirect(303, "https://claude.ai/api/mcp/auth_callback?code=pac_made")
    return Answering(lambda asked: deciding(asked) and "client_id" in asked.form, lambda _: back)
