"""Ways in which /authorize obeys foreign sites."""

from __future__ import annotations

import base64
import hashlib

from tests.verify.faults.making import (
    Answering,
    Asking,
    Site,
    asking,
    breaks,
    deciding,
    for_loopback,
)
from tests.verify.proxy import Answer, Asked, Fault, html_answer, redirect


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
