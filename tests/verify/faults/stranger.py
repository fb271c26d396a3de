"""Ways in which a stranger gets in, or is answered wrongly."""

from __future__ import annotations

import base64
import hashlib

from tests.verify.faults.making import (
    Answering,
    Asking,
    Changing,
    Site,
    approving,
    asking,
    at,
    breaks,
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


@breaks("stranger.challenge", "the challenge is stripped", "grant.ended")
def _(site: Site) -> Fault:
    return Changing(at("/mcp"), without("www-authenticate"))


@breaks("stranger.challenge", "GET needs no token")
def _(site: Site) -> Fault:
    return Answering(exactly("GET", "/mcp"), lambda asked: Answer(200))


@breaks("stranger.challenge", "HEAD is not allowed")
def _(site: Site) -> Fault:
    return Answering(exactly("HEAD", "/mcp"), lambda asked: Answer(405))


@breaks("stranger.challenge", "a slash at the end is redirected")
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
    return Answering(
        lambda asked: approving(asked) and "password" not in asked.form, lambda asked: back
    )


@breaks("stranger.token", "any code gets a token")
def _(site: Site) -> Fault:
    tokens = {"access_token": "pat_made", "refresh_token": "prt_made", "token_type": "Bearer"}
    return Answering(
        lambda asked: granting("authorization_code")(asked) and "pac_" not in asked.form["code"],
        lambda asked: json_answer(200, tokens),
    )


@breaks("stranger.page", "form-action makes Approve do nothing")
def _(site: Site) -> Fault:
    def change(answer: Answer) -> None:
        policy = answer.headers.get("content-security-policy", "")
        answer.headers["content-security-policy"] = f"{policy}; form-action 'self'"

    return Changing(asking, change)


@breaks("stranger.page", "the page can be framed")
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
        lambda asked: "stranger" in asked.headers.get("origin", ""),
        lambda asked: asked.headers.update(own),
    )


@breaks("stranger.code", "a made-up code is refused as if the client were unknown")
def _(site: Site) -> Fault:
    refused = json_answer(401, {"error": "invalid_client"})
    return Answering(
        lambda asked: granting("authorization_code")(asked) and "pac_" not in asked.form["code"],
        lambda asked: refused,
    )
