"""Ways in which a stranger gets in, or is not asked properly."""

from __future__ import annotations

from tests.verify.faults.making import (
    Answering,
    Changing,
    Site,
    approving,
    asking,
    at,
    breaks,
    deciding,
    granting,
    replacing,
    with_members,
    without,
)
from tests.verify.proxy import Answer, Fault, html_answer, json_answer, redirect


@breaks("stranger.register", "registration is switched off")
def _(site: Site) -> Fault:
    return Answering(at("/register"), lambda asked: Answer(404))


@breaks("stranger.register", "a registration gives no client_id")
def _(site: Site) -> Fault:
    return Changing(at("/register"), with_members(client_id=...))


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


@breaks("stranger.caching", "the page may be cached")
def _(site: Site) -> Fault:
    return Changing(asking, without("cache-control"))


@breaks("stranger.token", "Approve works wherever the request stands")
def _(site: Site) -> Fault:
    back = redirect(303, "https://claude.ai/api/mcp/auth_callback?code=pac_made")
    return Answering(lambda asked: deciding(asked) and "client_id" in asked.form, lambda _: back)
