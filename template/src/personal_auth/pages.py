"""What the owner sees: HTML with nothing loaded from elsewhere.

It is without JavaScript wherever no passkey is offered, and there works by password without it.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from typing import Any

from jinja2 import DictLoader, Environment, StrictUndefined
from markupsafe import Markup
from starlette.responses import HTMLResponse, Response

from personal_auth.errors import Refused, TooManyAttempts, WrongPasskey, WrongPassword
from personal_auth.identity import Identity
from personal_auth.moments import moment
from personal_auth.ownerview import Overview, is_token, places
from personal_auth.passkeys import Offer
from personal_auth.redirects import Redirect

FOLDER = Path(__file__).parent / "pages"
EMBEDDED_NOWHERE = "frame-ancestors 'none'; base-uri 'none'"


class Reading(Enum):
    """What a consent page says of holding a client to tools that only read."""

    ASKED = "asked"  # the client asked for no more
    OFFERED = "offered"
    CHOSEN = "chosen"
    NOT_OFFERED = "not offered"


class Pages:
    """Renders the pages of one server, as they were when it started: an update may replace them."""

    def __init__(self, identity: Identity, server_name: str | None) -> None:
        style, script = _own("style.css"), _own("passkeys.js")
        pages = {page.name: page.read_text(encoding="utf-8") for page in FOLDER.glob("*.html")}
        self._environment = Environment(
            loader=DictLoader(pages),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters.update(moment=moment, places=places, is_token=is_token)
        self._environment.globals.update(
            server_name=server_name or "Personal MCP server",
            host=identity.issuer.partition("://")[2],
            style=style,
        )
        self._script = script
        own_style = f"default-src 'none'; style-src '{_hash(style)}'"
        own_script = f"script-src '{_hash(script)}'; require-trusted-types-for 'script'"
        self._policy_with_script = f"{own_style}; {own_script}; {EMBEDDED_NOWHERE}"
        # No Cross-Origin-Opener-Policy: an app that opened the page as a popup would not hear from
        # its callback.
        self._headers: dict[str, str] = {
            # No form-action: Chromium and Safari apply it to the redirect after the form as well,
            # and Approve would seem to do nothing.
            "Content-Security-Policy": f"{own_style}; {EMBEDDED_NOWHERE}",
            "X-Frame-Options": "DENY",
            "X-Content-Type-Options": "nosniff",
            # With no-referrer, Chromium would send `Origin: null` with our own form.
            "Referrer-Policy": "same-origin",
            "Cache-Control": "no-store",
        }

    def consent(
        self,
        *,
        client_name: str,
        redirect: Redirect,
        ticket: str,
        ask_password: bool,
        passkey: Offer | None = None,
        reading: Reading = Reading.NOT_OFFERED,
        verified_host: str | None = None,
        changed: bool = False,
        error: str = "",
        password_is_wrong: bool = False,
        status: int = 200,
    ) -> HTMLResponse:
        """Asks the owner to approve or deny one client.

        Args:
            client_name: What the client calls itself, which proves nothing.
            redirect: Where a code would go.
            ticket: The sealed request, which the form sends back.
            ask_password: False when the browser has already proven the owner, or the password is
                switched off.
            passkey: What lets the owner approve by passkey; None when that is not to be offered.
            reading: Whether the owner may hold the client to tools that only read.
            verified_host: The https host that the client's metadata document was fetched from.
                None for a client that registered itself, of which nothing is verified.
            changed: True when the document's redirect URIs are others than the owner approved.
            error: Why the last attempt led nowhere.
            password_is_wrong: True when that was the password.
            status: 200, or the status that goes with the error.
        """
        return self._page(
            "consent.html",
            status,
            script=passkey is not None,
            client_name=client_name,
            redirect=redirect,
            ticket=ticket,
            ask_password=ask_password,
            passkey=passkey,
            reading=reading.value,
            verified_host=verified_host,
            changed=changed,
            error=error,
            password_is_wrong=password_is_wrong,
            waiting=status == 429,
        )

    def sign_in(
        self,
        *,
        ask_password: bool,
        passkey: Offer | None,
        why: str = "",
        session: str = "",
        refusal: Refused | None = None,
        status: int = 200,
    ) -> HTMLResponse:
        """Asks for the proof that opens the owner's page.

        Args:
            ask_password: False when the password is switched off.
            passkey: What lets the owner sign in by passkey; None when there is none.
            why: Why it is asked, when the page had been open before.
            session: A session that the form brings back, to be replaced.
            refusal: Why the last attempt led nowhere.
            status: Of a page without a refusal, which brings its own.
        """
        return self._page(
            "signin.html",
            refusal.status if refusal else status,
            script=passkey is not None,
            by_us=True,
            ask_password=ask_password,
            passkey=passkey,
            why=why,
            session=session,
            error=refusal.description if refusal else "",
            password_is_wrong=isinstance(refusal, WrongPassword | TooManyAttempts),
            waiting=isinstance(refusal, TooManyAttempts),
        )

    def owner(
        self,
        overview: Overview,
        *,
        session: str,
        said: str = "",
        refusal: Refused | None = None,
    ) -> HTMLResponse:
        """Shows the owner what is connected, with the forms that change it.

        Args:
            overview: What there is.
            session: What every form brings back; empty where a cookie is the session.
            said: What was done just now.
            refusal: Why a new password or passkey was not taken.
        """
        return self._page(
            "owner.html",
            refusal.status if refusal else 200,
            script=overview.new_passkey is not None,
            by_us=True,
            it=overview,
            session=session,
            said=said,
            error=refusal.description if refusal else "",
            about_passkeys=isinstance(refusal, WrongPasskey),
        )

    def message(
        self,
        status: int,
        title: str,
        cause: str,
        cure: str = "",
        steps: Sequence[tuple[str, str]] = (),
        back: str = "",
    ) -> HTMLResponse:
        """Says what happened and what to do about it.

        `steps` are pairs of an app and its cure; `back` is a path of ours to go on from.
        """
        values: dict[str, Any] = {"title": title, "cause": cause, "cure": cure, "steps": steps}
        return self._page("message.html", status, back=back, **values)

    def _page(
        self,
        name: str,
        status: int,
        *,
        script: bool = False,
        by_us: bool = False,
        **values: object,
    ) -> HTMLResponse:
        template, headers = self._environment.get_template(name), dict(self._headers)
        if script:
            headers["Content-Security-Policy"] = self._policy_with_script
        if by_us:
            headers["Content-Security-Policy"] += "; form-action 'self'"
            headers["Cross-Origin-Opener-Policy"] = "same-origin"
        html = template.render(script=self._script if script else "", **values)
        return HTMLResponse(html, status_code=status, headers=headers)


def with_wait(response: Response, refusal: Refused | None) -> Response:
    """Returns a refusal's answer with how long to wait in its header, if it says so."""
    wait = getattr(refusal, "retry_after", None)
    if wait is not None:
        response.headers["Retry-After"] = str(wait)
    return response


def _own(name: str) -> Markup:
    """Returns a file of ours, to stand in a page as it is."""
    return Markup((FOLDER / name).read_text(encoding="utf-8"))  # noqa: S704 - our own file


def _hash(text: str) -> str:
    """Returns what a Content-Security-Policy calls an inline style or script."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
