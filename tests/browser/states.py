"""Every page that the owner can meet, as the server answers it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import httpx

from personal_auth.identity import Identity
from personal_auth.pages import Pages, Reading
from personal_auth.passkeys import Offer
from personal_auth.redirects import read
from tests.support.site import CALLBACK, PASSWORD, URL, App, Clock, Site
from tests.support.site import ticket as ticket_of

Answer = tuple[int, dict[str, str], bytes]
PAGES = Pages(Identity.of(URL), "my-server")
LOOPBACK = "http://localhost:33418/oauth/callback"
LONG_NAME = "An assistant by someone " + "W" * 76
LONG_URI = f"https://claude.ai/{'a-long-part-of-a-path/' * 45}callback"
LONG_HOST = f"{'a-part-of-a-very-long-name.' * 8}example.com"


def rendered(name: str, uri: str, verified_host: str | None, changed: bool = False) -> Answer:
    """Returns the consent page for a client with a metadata document."""
    answer = PAGES.consent(
        client_name=name,
        redirect=read(uri),
        ticket="a ticket",
        ask_password=True,
        verified_host=verified_host,
        changed=changed,
    )
    return answer.status_code, dict(answer.headers), bytes(answer.body)


def with_passkey(*, ask_password: bool = True, error: str = "") -> Answer:
    """Returns the consent page that offers a passkey."""
    answer = PAGES.consent(
        client_name="Claude",
        redirect=read(CALLBACK),
        ticket="a ticket",
        ask_password=ask_password,
        passkey=Offer('{"challenge": "AAAA", "rpId": "mcp.example.com"}', "a challenge"),
        reading=Reading.OFFERED,
        error=error,
    )
    return answer.status_code, dict(answer.headers), bytes(answer.body)


def about_reading(reading: Reading, error: str = "") -> Answer:
    """Returns the consent page that says something of tools that only read."""
    answer = PAGES.consent(
        client_name="Claude",
        redirect=read(CALLBACK),
        ticket="a ticket",
        ask_password=True,
        reading=reading,
        error=error,
        password_is_wrong=bool(error),
    )
    return answer.status_code, dict(answer.headers), bytes(answer.body)


ABOUT_READING: dict[str, Callable[[], Answer]] = {
    "may be held to reading": lambda: about_reading(Reading.OFFERED),
    "held to reading, wrong password": lambda: about_reading(
        Reading.CHOSEN, error="The password is wrong."
    ),
    "asks only to read": lambda: about_reading(Reading.ASKED),
}
WITH_PASSKEY: dict[str, Callable[[], Answer]] = {
    "passkey offered": with_passkey,
    "passkey refused": lambda: with_passkey(error="The device did not check that it is you."),
    "password off": lambda: with_passkey(ask_password=False),
}

FROM_DOCUMENTS: dict[str, Callable[[], Answer]] = {
    "verified": lambda: rendered("Claude", CALLBACK, "claude.ai"),
    "verified, on loopback": lambda: rendered("Claude Code", LOOPBACK, "claude.ai"),
    "changed": lambda: rendered("Claude", f"https://{LONG_HOST}:8443/x", "claude.ai", True),
    "verified, no web address": lambda: rendered(
        "Cursor", "cursor://anysphere.cursor-mcp/x", "www.cursor.com"
    ),
    "no web address": lambda: rendered("Cursor", "cursor://anysphere.cursor-mcp/x", None),
}


class States:
    """Asks a server for its pages; `answers` has one for each of `NAMES`."""

    NAMES = (
        "password asked",
        "long name",
        "long address",
        "on loopback",
        "no name",
        *FROM_DOCUMENTS,
        *WITH_PASSKEY,
        *ABOUT_READING,
        "unknown app",
        "foreign redirect",
        "broken request",
        "out of date",
        "signed in",
        "done",
        "wrong password",
        "wait",
    )

    def __init__(self, folder: Path) -> None:
        self._site = Site(folder / "state", Clock(), server_name="my-server")
        try:
            self.answers = {**self._asked(), **self._decided()}
        finally:
            self._site.stop()
        self.answers |= {name: make() for name, make in FROM_DOCUMENTS.items()}
        self.answers |= {name: make() for name, make in WITH_PASSKEY.items()}
        self.answers |= {name: make() for name, make in ABOUT_READING.items()}

    def _asked(self) -> dict[str, Answer]:
        return {
            "password asked": self._ask(self._app("Claude")),
            "long name": self._ask(self._app(LONG_NAME)),
            "long address": self._ask(self._app("Claude", LONG_URI)),
            "on loopback": self._ask(self._app("Claude Code", LOOPBACK)),
            "no name": self._ask(self._app("")),
            "unknown app": self._ask(self._app("x"), client_id="c1-7-lost"),
            "foreign redirect": self._ask(self._app("x", f"https://{LONG_HOST}/callback")),
            "broken request": self._ask(self._app("x"), code_challenge_method="plain"),
        }

    def _decided(self) -> dict[str, Answer]:
        owner, stranger, app = self._site.visitor(), self._site.visitor(), self._app("Claude")
        form = {"ticket": ticket_of(owner.get("/authorize", params=app.query()))}
        approved = owner.submit(**form, password=PASSWORD, decision="approve")
        code = approved.headers["location"].partition("code=")[2].partition("&")[0]
        assert app.redeem(code).status_code == 200
        answers = {
            "signed in": kept(owner.get("/authorize", params=app.query())),
            "done": kept(owner.submit(**form, decision="approve")),
        }
        form = {"ticket": ticket_of(stranger.get("/authorize", params=app.query()))}
        answers["out of date"] = kept(owner.submit(ticket="old", decision="approve"))
        tries = [stranger.submit(**form, password="x", decision="approve") for _ in range(6)]
        return {**answers, "wrong password": kept(tries[0]), "wait": kept(tries[-1])}

    def _app(self, name: str, *uris: str) -> App:
        return App.register(self._site, *uris, client_name=name)

    def _ask(self, app: App, **changes: str) -> Answer:
        return kept(self._site.visitor().get("/authorize", params=app.query(**changes)))


def kept(answer: httpx.Response) -> Answer:
    names = {"content-type", "content-security-policy", "referrer-policy", "x-frame-options"}
    headers = {name: value for name, value in answer.headers.items() if name in names}
    return answer.status_code, headers, answer.content
