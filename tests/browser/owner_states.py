"""The owner's page in every state that its owner can meet, as the server answers it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx

from personal_auth.client import Client
from personal_auth.trail import Trail
from personal_auth.trailfile import Entry
from tests.browser.states import Answer, kept
from tests.support.household import (
    CHATGPT,
    CURSOR,
    HOUR,
    MINUTE,
    connect,
    enrol,
    furnish,
    sign_in_elsewhere,
)
from tests.support.ownerpage import Desk, desk
from tests.support.site import PASSWORD, URL, Clock, Site

HOSTILE = (
    "W" * 100,
    "<b>claude.ai</b></h3><form>verified",
    "\u202egro.elpmaxe \u05e9\u05dc\u05d5\u05dd verified",
    "",
)


class OwnerStates:
    """Asks servers for the page; `answers` has one for each of `NAMES`."""

    NAMES = (
        "sign in",
        "wrong password",
        "wait",
        "signed out",
        "nothing connected",
        "furnished",
        "said",
        "not fresh",
        "sign in again",
        "password refused",
        "passkey refused",
        "passkey only",
        "sign in by passkey only",
        "hostile names",
        "password of the settings",
        "no name for passkeys",
        "another address",
        "not possible",
    )

    def __init__(self, folder: Path) -> None:
        self._folder, self._count = folder, 0
        self.answers: dict[str, Answer] = {}
        self._strangers()
        self._ordinary()
        self._by_passkey()
        self._odd()

    def _keep(self, name: str, answer: httpx.Response) -> None:
        self.answers[name] = kept(answer)

    def _server(self, url: str = URL, **options: Any) -> Site:
        self._count += 1
        folder, clock = self._folder / str(self._count), Clock()
        trail = Trail(folder / "trail.sqlite3", clock=clock)
        return Site(folder, clock, base_url=url, server_name="my-server", trail=trail, **options)

    def _own(self) -> tuple[Site, Desk]:
        """Starts a server whose password is kept in its state."""
        server = self._server(password=None)
        server.run(server.provider.service.owner.change_password(PASSWORD))
        return server, desk(server)

    def _note(self, server: Site, **call: str) -> None:
        assert server.provider.trail is not None
        server.provider.trail.note(Entry(server.clock(), "call", **call))  # type: ignore[arg-type]

    def _strangers(self) -> None:
        server, here = self._own()
        self._keep("sign in", here.open())
        tries = [desk(server).post("sign-in", password="x") for _ in range(6)]
        self._keep("wrong password", tries[0])
        self._keep("wait", tries[-1])
        self._keep("signed out", here.post("revoke-all"))
        server.stop()

    def _ordinary(self) -> None:
        server, here = self._own()
        self._keep("nothing connected", here.sign_in())
        furnish(server)
        self._keep("furnished", here.sign_in())
        self._keep("said", here.act("end-other-sessions"))
        sign_in_elsewhere(server, "")
        self._keep("password refused", here.post("change-password", **{"new-password": "x"}))
        self._keep("passkey refused", here.post("add-passkey", name="My phone"))
        self._keep("not possible", here.post("nothing"))
        server.clock.advance(11 * MINUTE)
        self._keep("not fresh", here.open())
        self._keep("sign in again", here.post("password-off"))
        server.stop()

    def _by_passkey(self) -> None:
        server, here = self._own()
        enrol(server, "P" * 60)
        here.sign_in()
        self._keep("passkey only", here.act("password-off"))
        self._keep("sign in by passkey only", desk(server).open())
        server.stop()

    def _odd(self) -> None:
        server, here = self._own()
        for name in HOSTILE:
            gid, _ = connect(server, Client("c1.x", name, CURSOR.redirect_uris), calls=2000)
            server.run(server.provider.service.connections.rename(gid, name[::-1]))
            connect(server, Client(f"https://{'a' * 60}.example/x", name, CHATGPT.redirect_uris))
            sign_in_elsewhere(server, name or "x")
            enrol(server, name)
            self._note(server, client=name, tool=name, arguments=name, outcome="error")
        self._keep("hostile names", here.sign_in())
        server.stop()
        server = self._server("https://old.example.com")
        connect(server)
        sign_in_elsewhere(server)
        enrol(server, "Old")
        server.restart(base_url=URL)
        server.clock.advance(HOUR)
        self._keep("another address", desk(server).sign_in())
        server.stop()
        server = self._server()
        self._keep("password of the settings", desk(server).sign_in())
        server.stop()
        server = self._server("http://127.0.0.1:8050")
        self._keep("no name for passkeys", desk(server).sign_in())
        server.stop()
