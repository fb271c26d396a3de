"""Ways in which the owner's page is open to others, or shut to its owner."""

from __future__ import annotations

from tests.verify.faults.making import Answering, Asking, Changing, Site, at, breaks, exactly
from tests.verify.proxy import Answer, Asked, Fault, html_answer, redirect

PAGE = Answer(
    200,
    {"content-type": "text/html; charset=utf-8"},
    b'<!doctype html><form method="post"><input type="hidden" name="do" value="revoke"></form>',
)

asks_for_page = exactly("GET", "/owner")
sends_form = exactly("POST", "/owner")


def doing(what: str, *, with_session: bool = True) -> Fault:
    """Takes a form of the page, whoever sends it."""
    return Answering(
        lambda asked: (
            sends_form(asked)
            and asked.form["do"] == what
            and ("session" in asked.form) == with_session
        ),
        lambda asked: redirect(303, "/owner"),
    )


@breaks("stranger.owner_page", "a made-up token opens the owner's page")
def _(site: Site) -> Fault:
    return Answering(
        lambda asked: (
            asks_for_page(asked)
            and "authorization" in asked.headers
            and "pat_" not in asked.headers["authorization"]
        ),
        lambda asked: PAGE,
    )


@breaks("stranger.owner_page", "anybody may send a form of the owner's page")
def _(site: Site) -> Fault:
    return doing("name", with_session=False)


@breaks("owner.page", "signing in leads nowhere")
def _(site: Site) -> Fault:
    return Answering(
        lambda asked: sends_form(asked) and asked.form["do"] == "sign-in",
        lambda asked: html_answer(200, "Welcome"),
    )


@breaks("owner.page", "the owner's page is of another server")
def _(site: Site) -> Fault:
    def change(answer: Answer) -> None:
        answer.body = answer.body.replace(b"verify.py", b"somebody")

    return Changing(at("/owner"), change)


@breaks("owner.page_token", "a client's token opens the owner's page")
def _(site: Site) -> Fault:
    return Answering(
        lambda asked: (
            asks_for_page(asked)
            and asked.headers.get("authorization", "").startswith("Bearer pat_")
        ),
        lambda asked: PAGE,
    )


@breaks("owner.page_forgery", "a foreign page may use the owner's page")
def _(site: Site) -> Fault:
    def change(asked: Asked) -> None:
        asked.headers["origin"] = site.url

    return Asking(sends_form, change)


@breaks("owner.page_end", "signing out is forgotten")
def _(site: Site) -> Fault:
    return doing("sign-out")
