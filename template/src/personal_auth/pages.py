"""What the owner sees: HTML without JavaScript, with nothing loaded from elsewhere."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path

from jinja2 import DictLoader, Environment, StrictUndefined
from markupsafe import Markup
from starlette.responses import HTMLResponse, Response

from personal_auth.errors import Refused
from personal_auth.identity import Identity
from personal_auth.moments import moment
from personal_auth.ownerview import Overview, is_token, places
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
        self._environment.filters.update(moment=moment, places=places, is_token=is_token)
        self._environment.globals.update(
            server_name=server_name or "Personal MCP server",
            host=identity.issuer.partition("://")[2],
            style=Markup(style),  # noqa: S704 - our own file
        )
        style_hash = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
        # No Cross-Origin-Opener-Policy: an app that opened the page as a popup would not hear from
        # its callback.
        self._headers: dict[str, str] = {
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
        # Of pages that no app opens, and whose forms lead nowhere else.
        self._owner_headers = {
            **self._headers,
            "Content-Security-Policy": f"{self._headers['Content-Security-Policy']};"
            " form-action 'self'",
            "Cross-Origin-Opener-Policy": "same-origin",
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
            self._headers,
            client_name=client_name,
            redirect=redirect,
            ticket=ticket,
            ask_password=ask_password,
            verified_host=verified_host,
            changed=changed,
            error=error,
            waiting=status == 429,
        )

    def sign_in(
        self, why: str = "", *, refusal: Refused | None = None, session: str = "", status: int = 200
    ) -> HTMLResponse:
        """Asks for the proof that opens the owner's page.

        Args:
            why: Why it is asked, when the page had been open before.
            refusal: Why the last attempt led nowhere.
            session: A session that the form brings back, to be replaced.
            status: Of a page without a refusal, which brings its own.
        """
        return self._page(
            "signin.html",
            refusal.status if refusal else status,
            self._owner_headers,
            why=why,
            session=session,
            error=refusal.description if refusal else "",
            waiting=refusal is not None and refusal.status == 429,
        )

    def owner(
        self, overview: Overview, *, session: str, said: str, refusal: Refused | None
    ) -> HTMLResponse:
        """Shows the owner what is connected, with the forms that change it.

        Args:
            overview: What there is.
            session: What every form brings back; empty where a cookie is the session.
            said: What was done just now.
            refusal: Why a new password was not taken.
        """
        return self._page(
            "owner.html",
            refusal.status if refusal else 200,
            self._owner_headers,
            it=overview,
            session=session,
            said=said,
            error=refusal.description if refusal else "",
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
        return self._page("message.html", status, self._headers, **values)

    def _page(
        self, name: str, status: int, headers: dict[str, str], **values: object
    ) -> HTMLResponse:
        html = self._environment.get_template(name).render(**values)
        return HTMLResponse(html, status_code=status, headers=headers)


def with_wait(response: Response, refusal: Refused | None) -> Response:
    """Returns a refusal's answer with how long to wait in its header, if it says so."""
    wait = getattr(refusal, "retry_after", None)
    if wait is not None:
        response.headers["Retry-After"] = str(wait)
    return response
