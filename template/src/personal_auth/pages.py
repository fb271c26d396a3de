"""What the owner sees: HTML with nothing loaded from elsewhere.

It is without JavaScript wherever no passkey is offered, and there works by password without it.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path

from jinja2 import DictLoader, Environment, StrictUndefined
from markupsafe import Markup
from starlette.responses import HTMLResponse

from personal_auth.identity import Identity
from personal_auth.passkeys import Offer
from personal_auth.redirects import Redirect

FOLDER = Path(__file__).parent / "pages"
EMBEDDED_NOWHERE = "frame-ancestors 'none'; base-uri 'none'"


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
        self._headers = {
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
            verified_host=verified_host,
            changed=changed,
            error=error,
            password_is_wrong=password_is_wrong,
            waiting=status == 429,
        )

    def message(
        self,
        status: int,
        title: str,
        cause: str,
        cure: str = "",
        steps: Sequence[tuple[str, str]] = (),
    ) -> HTMLResponse:
        """Says what happened and what to do about it; `steps` are pairs of an app and its cure."""
        return self._page("message.html", status, title=title, cause=cause, cure=cure, steps=steps)

    def _page(
        self, name: str, status: int, *, script: bool = False, **values: object
    ) -> HTMLResponse:
        template, headers = self._environment.get_template(name), self._headers
        if script:
            headers = {**headers, "Content-Security-Policy": self._policy_with_script}
        html = template.render(script=self._script if script else "", **values)
        return HTMLResponse(html, status_code=status, headers=headers)


def _own(name: str) -> Markup:
    """Returns a file of ours, to stand in a page as it is."""
    return Markup((FOLDER / name).read_text(encoding="utf-8"))  # noqa: S704 - our own file


def _hash(text: str) -> str:
    """Returns what a Content-Security-Policy calls an inline style or script."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
