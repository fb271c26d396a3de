"""Is the page /owner open to the owner's session, and shut to everything else?"""

from __future__ import annotations

import secrets
from contextlib import suppress

import httpx2

from personal_verify.answers import Page, is_html, shape
from personal_verify.approval import NO_FIELD, NOT_FILLED_IN, password_of, refuse_waiting
from personal_verify.checks import KEEP_ORIGIN, LETS_IN, RENEW, Failed, Skipped, check, expect
from personal_verify.door import STRANGER
from personal_verify.known import BROWSER, NAME
from personal_verify.visit import Visit

PATH = "/owner"
SIGN_IN = "sign-in"  # what the only form of a stranger's page does
HARMLESS = {"do": "name", "id": "0" * 16, "name": NAME}  # of a connection that there is not


def post(visit: Visit, browser: httpx2.Client, origin: str, **form: str) -> httpx2.Response:
    """Sends a form of the page, with what carries the session where no cookie does: on http."""
    headers = {"Origin": origin, "Sec-Fetch-Site": "same-origin"}
    return visit.send("POST", PATH, browser, data={**visit.carried, **form}, headers=headers)


@check("stranger.owner_page", "The owner's page stays shut", ours=True)
def _(visit: Visit) -> str:
    stranger = visit.new_client(BROWSER)
    shown = visit.send("GET", PATH, stranger)
    if not is_html(shown) or shown.status_code == 404:
        return f"{shape(shown)}: nobody gets there from here"
    made_up = f"Bearer {secrets.token_urlsafe(32)}"
    for who, response in (
        ("Anybody", shown),
        ("A made-up token", visit.send("GET", PATH, headers={"Authorization": made_up})),
    ):
        must_ask_to_sign_in(response, who)
    done = post(visit, stranger, visit.url, **HARMLESS)
    must_be_refused(done, "A form of the owner's page from a stranger", LETS_IN)
    return "it only asks to sign in"


@check("owner.page", "The owner sees the connection", "protocol.token", ours=True)
def _(visit: Visit) -> str:
    if visit.proof.by_browser:
        raise Skipped(NOT_FILLED_IN)
    password, browser = password_of(visit), visit.new_client(BROWSER)
    shown = visit.send("GET", PATH, browser)
    if not is_html(shown) or shown.status_code == 404:
        raise Skipped(f"{PATH} is not reached from here ({shape(shown)})")
    page = Page(shown)
    if not page.passwords:
        raise Skipped(NO_FIELD)
    opened = post(visit, browser, visit.url, **{"do": SIGN_IN, page.passwords[0]: password})
    refuse_waiting(opened)
    if opened.is_redirect:
        opened = visit.send("GET", PATH, browser)
    expect(
        "sign-out" in Page(opened).actions,
        f"Signing in on {PATH} is answered with {shape(opened)}, not with the page.",
        RENEW,
    )
    visit.carried = {k: v for k, v in Page(opened).hidden.items() if k == "session"}
    visit.secrets |= set(visit.carried.values())
    visit.desk = browser
    expect(NAME in opened.text, f"{PATH} does not list the connection of this proof.", RENEW)
    return f"{PATH} lists it"


@check("owner.page_token", "No token opens the owner's page", "owner.page", ours=True)
def _(visit: Visit) -> str:
    headers = {"Authorization": f"Bearer {visit.connection[-1].access}"}
    must_ask_to_sign_in(visit.send("GET", PATH, headers=headers), "A connected client's token")
    return "a connected client is asked to sign in"


@check("owner.page_forgery", "No other page can use it", "owner.page", ours=True)
def _(visit: Visit) -> str:
    for origin in (f"https://{STRANGER}", "null"):
        response = post(visit, desk_of(visit), origin, **HARMLESS)
        what = f"A form that a page of {origin} sends to {PATH}, with the owner's session,"
        must_be_refused(response, what, KEEP_ORIGIN)
    return "only forms of its own are taken"


@check("owner.page_end", "Signing out ends the session", "owner.page", ours=True, last=True)
def _(visit: Visit) -> str:
    thief = visit.new_client(BROWSER)
    thief.cookies.update(desk_of(visit).cookies)
    post(visit, desk_of(visit), visit.url, do="sign-out")
    must_ask_to_sign_in(visit.send("GET", PATH, thief), "A session that has ended")
    done = post(visit, thief, visit.url, **HARMLESS)
    must_be_refused(done, "A form with a session that has ended", RENEW)
    return "its cookie opens nothing any more"


def sign_out(visit: Visit) -> None:
    """Ends the sessions of this visit, as far as the page can be reached."""
    for browser in (visit.desk, visit.browser):
        if browser is not None and visit.ours:
            with suppress(Failed):
                post(visit, browser, visit.url, do="sign-out")


def desk_of(visit: Visit) -> httpx2.Client:
    """Returns the browser in which owner.page has opened the page."""
    assert visit.desk is not None, "owner.page has passed"
    return visit.desk


def must_ask_to_sign_in(response: httpx2.Response, who: str) -> None:
    actions = set(Page(response).actions)
    expect(
        actions <= {SIGN_IN} and NAME not in response.text,
        f"{who} is shown {PATH} with {', '.join(sorted(actions - {SIGN_IN})) or 'connections'}.",
        LETS_IN,
    )


def must_be_refused(response: httpx2.Response, what: str, cure: str) -> None:
    refused = response.status_code in {400, 403}
    expect(refused, f"{what} is answered with {shape(response)}.", cure)
