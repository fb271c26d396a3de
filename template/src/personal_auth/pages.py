"""What the owner sees: HTML without JavaScript, with nothing loaded from elsewhere."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path

from jinja2 import DictLoader, Environment, StrictUndefined
from markupsafe import Markup
from starlette.responses import HTMLResponse

from personal_auth.identity import Identity
from personal_auth.redirects import Redirect

FOLDER = Path(__file__).parent / "pages"


class Pages:
    """Renders the pages of one server, as they were when it started: an update may replace them."""

    def __init__(self, identity: Identity, server_name: str | None) -> None:
        style = (FOLDER / "style.css").read_text(encoding="utf-8")
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
            style=Markup(style),  # noqa: S704 - our own file
        )
        style_hash = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
        # No Cross-Origin-Opener-Policy: an app that opened the page as a popup would not hear from
        # its callback.
        self._headers = {
            # No form-action: Chromium and Safari apply it to the redirect after the form as well,
            # and Approve would seem to do nothing.
            "Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{style_hash}';"
            " frame-ancestors 'none'; base-uri 'none'",
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
        verified_host: str | None = None,
        changed: bool = False,
        error: str = "",
        status: int = 200,
    ) -> HTMLResponse:
        """Asks the owner to approve or deny one client.

        Args:
            client_name: What the client calls itself, which proves nothing.
            redirect: Where a code would go.
            ticket: The sealed request, which the form sends back.
            ask_password: False when the browser has already proven the owner.
            verified_host: The https host that the client's metadata document was fetched from.
                None for a client that registered itself, of which nothing is verified.
            changed: True when the document's redirect URIs are others than the owner approved.
            error: Why the last attempt led nowhere.
            status: 200, or the status that goes with the error.
        """
        return self._page(
            "consent.html",
            status,
            client_name=client_name,
            redirect=redirect,
            ticket=ticket,
            ask_password=ask_password,
            verified_host=verified_host,
            changed=changed,
            error=error,
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
        values = {"title": title, "cause": cause, "cure": cure, "steps": steps}
        return self._page("message.html", status, **values)

    def _page(self, name: str, status: int, **values: object) -> HTMLResponse:
        html = self._environment.get_template(name).render(**values)
        return HTMLResponse(html, status_code=status, headers=self._headers)
