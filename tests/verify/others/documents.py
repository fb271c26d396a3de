"""A server at which no client registers: each names a document that it publishes.

Whoever names Claude's document is shown a page that asks for a password; nobody gets a code.
"""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

METHODS = ["GET", "POST", "HEAD", "DELETE", "PUT", "PATCH", "OPTIONS", "PROPFIND"]
DOCUMENT = "https://claude.ai/oauth/mcp-oauth-client-metadata"
BACK = {
    "https://claude.ai/api/mcp/auth_callback",
    "http://127.0.0.1:8912/callback",
}
PAGE = (
    "<!doctype html><title>Sign in</title><form method=post><input type=password name=word>"
    "<button name=ok>Let in</button></form>"
)
SAFE = {"X-Frame-Options": "DENY", "Cache-Control": "no-store"}


def app(url: str) -> ASGIApp:
    host = url.removeprefix("http://")
    server: dict[str, object] = {
        "issuer": url,
        "authorization_endpoint": f"{url}/oauth/begin",
        "token_endpoint": f"{url}/oauth/end",
        "response_types_supported": ["code"],
        "grant_types_supported": ["authorization_code", "refresh_token"],
        "code_challenge_methods_supported": ["S256"],
        "token_endpoint_auth_methods_supported": ["none"],
        "authorization_response_iss_parameter_supported": True,
        "client_id_metadata_document_supported": True,
        "scopes_supported": ["mcp", "offline_access"],
    }
    resource: dict[str, object] = {"resource": f"{url}/mcp", "authorization_servers": [url]}
    found = f"{url}/.well-known/oauth-protected-resource"

    def document(name: str, value: dict[str, object]) -> Route:
        async def give(request: Request) -> Response:
            if request.headers["host"] != host:
                return JSONResponse({"error": "misdirected"}, 421)
            return JSONResponse(value, headers={"Access-Control-Allow-Origin": "*"})

        return Route(f"/.well-known/{name}", give)

    async def door(request: Request) -> Response:
        if request.headers["host"] != host:
            return JSONResponse({"error": "misdirected"}, 421)
        if "origin" in request.headers:
            return JSONResponse({"error": "forbidden"}, 403)
        challenge = {"WWW-Authenticate": f'Bearer resource_metadata="{found}"'}
        return JSONResponse({"error": "unauthorized"}, 401, challenge)

    async def begin(request: Request) -> Response:
        asked = request.query_params
        fits = len(asked.get("code_challenge", "")) == 43 and "+" not in asked["code_challenge"]
        right = fits and asked.get("code_challenge_method") == "S256"
        known = asked.get("client_id") == DOCUMENT and asked.get("redirect_uri") in BACK
        if not (right and known and asked["response_type"] == "code"):
            return HTMLResponse("<!doctype html><title>No</title>", 400, SAFE)
        return HTMLResponse(PAGE, 200 if request.method == "GET" else 403, SAFE)

    async def end(request: Request) -> Response:
        form = await request.form()
        known = form.get("client_id") == DOCUMENT
        error = "invalid_grant" if known else "invalid_client"
        return JSONResponse({"error": error}, 400 if known else 401)

    return Starlette(
        routes=[
            document("oauth-authorization-server", server),
            document("oauth-protected-resource", resource),
            Route("/mcp", door, methods=METHODS),
            Route("/oauth/begin", begin, methods=["GET", "POST"]),
            Route("/oauth/end", end, methods=["POST"]),
        ],
    )
