"""The one raw ASGI middleware: what every HTTP request meets before any route.

In this order: the bounds of the request line, the Host (a foreign one is DNS rebinding), the
Origin, CORS for what other pages may read, trailing slashes, and on the MCP endpoint the bearer
token. A missing or refused token is answered here, before any protocol check. Only the probe of
balancers, which says nothing but whether the state can be written, passes by all of that.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from functools import lru_cache

from starlette.datastructures import MutableHeaders
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from personal_auth import audit
from personal_auth.addresses import caller
from personal_auth.endpoints import refusal
from personal_auth.errors import InvalidToken, Refused, RequestTooLarge
from personal_auth.grants import Connection
from personal_auth.headers import Headers
from personal_auth.identity import MCP_PATH, Identity
from personal_auth.limits import Limits
from personal_auth.scopes import RESOURCE_SCOPES

OPEN_PATHS = {"/register", "/token", "/revoke"}
PAGES = {"/authorize", "/owner"}
OWN_PATHS = {MCP_PATH, *PAGES}
READINESS = "/readyz"  # for balancers, which ask by address
LIVENESS = "/healthz"  # answers also while the state cannot be opened
EXPOSED = "WWW-Authenticate, Mcp-Session-Id, Retry-After"
CONTROL = re.compile(r"[\x00-\x1f\x7f]")
HEADER_LIST = re.compile(r"[A-Za-z0-9\-]{1,64}(?: ?, ?[A-Za-z0-9\-]{1,64}){0,31}\Z")

Check = Callable[[str], Awaitable[Connection]]
Admit = Callable[[Scope, Connection], None]


class Front:
    """Stands before the routes of one server.

    Args:
        app: What comes after.
        identity: What this server is called.
        limits: The bound of the request line.
        check: Returns what an access token opens, or raises InvalidToken.
        admit: Marks a scope as authenticated, in the way the framework expects it.
        address: Returns where a request came from.
        start: Called with how long to wait for it, at the start and before every request but the
            probes'; who needs what could not be started is refused where it is asked for.
        stop: Called at the end of the lifespan.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        identity: Identity,
        limits: Limits,
        check: Check,
        admit: Admit,
        address: Callable[[Scope, Headers], str],
        start: Callable[[float | None], Awaitable[None]],
        stop: Callable[[], Awaitable[None]],
    ) -> None:
        self._app = app
        self._identity = identity
        self._limits = limits
        self._check = check
        self._admit = admit
        self._address = address
        self._start = start
        self._stop = stop
        self._challenge = (
            f'resource_metadata="{identity.issuer}/.well-known/oauth-protected-resource'
            f'{MCP_PATH}", scope="{" ".join(RESOURCE_SCOPES)}"'
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(scope, receive, send)
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if scope["path"] == READINESS:
            await self._app(scope, receive, _in_json(scope, receive, send))
            return
        headers = Headers.of(scope)
        caller.set(self._address(scope, headers))
        try:
            if scope["path"] != LIVENESS:
                await self._start(self._limits.start_wait_seconds)
            answer = self._examine(scope, headers)
            if answer is None and scope["path"] == MCP_PATH:
                answer = await self._authenticate(scope, headers)
        except Refused as error:
            answer = refusal(error)
        allowed = self._cors_origin(scope["path"], headers)
        if allowed is not None:
            send = _with_cors(send, allowed)
        if answer is not None:
            await answer(scope, receive, send)
        elif scope["path"] == MCP_PATH and scope["method"] == "POST":
            await self._app(scope, receive, send)  # the router lets the endpoint answer each
        else:
            await self._app(scope, receive, _in_json(scope, receive, send))

    async def _lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def sending(message: Message) -> None:
            # Before the server hears of it: afterwards it may end every task at once.
            if message["type"] == "lifespan.startup.complete":
                await self._start(None)
            elif message["type"].startswith("lifespan.shutdown."):
                await self._stop()
            await send(message)

        await self._app(scope, receive, sending)

    def _examine(self, scope: Scope, headers: Headers) -> Response | None:
        """Returns the answer that ends the request here, or None when it may go on."""
        if (
            len(scope.get("raw_path") or b"") + len(scope["query_string"])
            > self._limits.request_line_bytes
        ):
            raise UriTooLong(
                f"The request line is longer than {self._limits.request_line_bytes} bytes."
            )
        host = headers.only(b"host")
        if host is None or not self._identity.knows_host(host):
            return _plain(
                421,
                "misdirected_request",
                f"This server is {self._identity.issuer}: it does not answer for another Host."
                " Set MCP_PUBLIC_URL to the address that people use.",
            )
        if CONTROL.search(scope["path"]):  # the router takes the end of a line for the path's
            return _plain(404, "not_found", "There is nothing at this address.")
        if scope["path"].endswith("/"):
            _drop_trailing_slash(scope)
        origin = headers.text(b"origin")
        if origin is not None and not self._may_come_from(scope["path"], origin):
            return _plain(403, "forbidden_origin", "This page may not use this server.")
        if scope["method"] == "OPTIONS" and b"access-control-request-method" in headers:
            return _preflight(headers)
        return None

    def _may_come_from(self, path: str, origin: str) -> bool:
        # A page judges by itself: its answer to a foreign page is a page, not JSON.
        return _is_open(path) or path in PAGES or self._identity.knows_origin(origin)

    def _cors_origin(self, path: str, headers: Headers) -> str | None:
        if path != MCP_PATH:  # also without an Origin: the answer may be cached for one that has it
            return "*" if _is_open(path) else None
        origin = headers.text(b"origin")
        return origin if origin is not None and self._identity.knows_origin(origin) else None

    async def _authenticate(self, scope: Scope, headers: Headers) -> Response | None:
        kind, _, token = (headers.text(b"authorization") or "").partition(" ")
        if kind.lower() != "bearer":
            return self._unauthorized(None, headers)
        try:
            connection = await self._check(token.strip())
        except InvalidToken as error:
            audit.refused(error, at=MCP_PATH)
            return self._unauthorized(error, headers)
        self._admit(scope, connection)
        return None

    def _unauthorized(self, error: InvalidToken | None, request: Headers) -> Response:
        too_much = len(request.get(b"content-length", b"")) > len(str(self._limits.body_bytes))
        close = too_much or b"transfer-encoding" in request
        return _challenging(self._challenge, error and error.description, close)


class UriTooLong(RequestTooLarge):
    """The path and query exceed their bound (RFC 9110 §15.5.15)."""

    status = 414


class Kept(JSONResponse):
    """One answer for many, who get headers of their own: whatever wraps the app may change them."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        start = {"type": "http.response.start", "status": self.status_code}
        await send({**start, "headers": [*self.raw_headers]})
        await send({"type": "http.response.body", "body": self.body})


@lru_cache(maxsize=32)  # the descriptions are few, and none holds what a caller wrote
def _challenging(challenge: str, description: str | None, close: bool) -> Response:
    """Answers 401 with the challenge (RFC 6750 §3, RFC 9728 §5.1); no description, no error."""
    if description is None:
        body = {"error": "unauthorized", "error_description": "An access token is needed."}
    else:
        body = {"error": InvalidToken.code, "error_description": description}
        error = f'error="{InvalidToken.code}", error_description="{description}"'
        challenge = f"{error}, {challenge}"
    headers = {"WWW-Authenticate": f"Bearer {challenge}", "Cache-Control": "no-store"}
    if close:
        headers["Connection"] = "close"  # who is not let in need not send all that
    return Kept(body, 401, headers)


def _is_open(path: str) -> bool:
    return path in OPEN_PATHS or path.startswith("/.well-known/")


def _drop_trailing_slash(scope: Scope) -> None:
    # In place, without a redirect: behind TLS a redirect could point to http.
    bare = scope["path"].rstrip("/")
    if bare in OWN_PATHS or _is_open(bare):
        scope["path"] = bare
        scope["raw_path"] = (scope.get("raw_path") or b"").rstrip(b"/")


def _preflight(headers: Headers) -> Response:
    wanted = headers.text(b"access-control-request-headers") or ""
    return Response(
        status_code=204,
        headers={
            "Access-Control-Allow-Methods": "GET, POST, DELETE, OPTIONS",
            "Access-Control-Allow-Headers": wanted
            if HEADER_LIST.match(wanted)
            else "Authorization",
            "Access-Control-Max-Age": "600",
        },
    )


def _with_cors(send: Send, allowed: str) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers["Access-Control-Allow-Origin"] = allowed
            headers["Access-Control-Expose-Headers"] = EXPOSED
            if allowed != "*":
                headers.add_vary_header("Origin")
        await send(message)

    return sending


def _in_json(scope: Scope, receive: Receive, send: Send) -> Send:
    """Says in JSON what the router says in plain text: nothing here, or not by this method."""
    replaced = False

    async def sending(message: Message) -> None:
        nonlocal replaced
        answer = _instead(scope, message) if message["type"] == "http.response.start" else None
        if answer is not None:
            replaced = True
            await answer(scope, receive, send)
        elif not replaced:
            await send(message)

    return sending


def _instead(scope: Scope, start: Message) -> Response | None:
    path = scope["path"]
    if start["status"] == 404 and "endpoint" not in scope:  # no route took it
        return _plain(404, "not_found", "There is nothing at this address.")
    if start["status"] != 405 or not (_is_open(path) or path in OWN_PATHS):
        return None
    headers = MutableHeaders(scope=start)
    allowed = ", ".join(sorted(re.findall(r"[A-Z]+", headers.get("allow", "POST"))))
    headers["Allow"] = allowed  # RFC 9110 §15.5.6; the endpoint's own 405 has none
    if not headers.get("content-type", "").startswith("text/plain"):
        return None
    answer = _plain(405, "method_not_allowed", f"This address answers only {allowed}.")
    answer.headers["Allow"] = allowed
    return answer


def _plain(status: int, code: str, description: str) -> Response:
    body = {"error": code, "error_description": description}
    return JSONResponse(body, status, {"Cache-Control": "no-store"})
