"""The owner at the page `/owner`, as a browser without JavaScript uses it."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass
from typing import Any

import httpx

from tests.support.site import PASSWORD, Visitor

DEEDS = (
    *("sign-in", "sign-out", "name", "narrow", "widen", "revoke", "revoke-all", "end-session"),
    *("end-other-sessions", "add-passkey", "name-passkey", "remove-passkey"),
    *("change-password", "password-off", "password-on"),
)  # every form of the page, by its field `do`
LOCAL = "http://localhost:8050"
SESSION = re.compile(r'name="session" value="([^"]+)"')


@dataclass
class Desk:
    """One browser at the page; on plain loopback it keeps what the forms carry."""

    visitor: Visitor
    origin: str
    carried: str = ""

    def open(self) -> httpx.Response:
        return self.visitor.get("/owner")

    def post(self, do: str, **form: str) -> httpx.Response:
        """Sends a form and returns its very answer."""
        carried = {"session": self.carried} if self.carried else {}
        fields = {"do": do, **carried, **form}
        return self.visitor.post("/owner", data=fields, headers={"origin": self.origin})

    def act(self, do: str, **form: str) -> httpx.Response:
        """Sends a form and returns the page that is shown afterwards."""
        answer = self.post(do, **form)
        if answer.status_code == 303:
            assert answer.headers["location"] == "/owner"
            return self.open()
        found = SESSION.search(answer.text)
        self.carried = found[1] if found else self.carried
        return answer

    def sign_in(self, password: str = PASSWORD) -> httpx.Response:
        return self.act("sign-in", password=password)


def desk(site: Any) -> Desk:
    """Returns a browser that has never been at a server."""
    origin = site.provider.identity.origin
    return Desk(site.visitor(host=origin.partition("://")[2]), origin)


def words(page: httpx.Response) -> str:
    """Returns what a person reads on a page."""
    main = re.sub(r"<[^>]+>", " ", page.text.partition("</style>")[2].partition("</main>")[0])
    return re.sub(r"\s+", " ", html.unescape(main)).strip()
