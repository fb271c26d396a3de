"""Does the MCP endpoint open to nobody but who has a token, and only under its own name?"""

from __future__ import annotations

import re
import secrets
from urllib.parse import urljoin, urlsplit

import httpx2

from personal_verify.answers import json_in, shape
from personal_verify.checks import (
    KEEP_CHALLENGE,
    KEEP_HOST,
    KEEP_ORIGIN,
    LETS_IN,
    RENEW,
    Failed,
    check,
    expect,
    pass_on,
)
from personal_verify.known import HANDSHAKE, SERVER_METADATA
from personal_verify.visit import Visit

LIST = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
ACCEPT = {
    "Accept": "application/json, text/event-stream",
    "MCP-Protocol-Version": HANDSHAKE,
}
STRANGER = "stranger.example"
NO_LOGIN = (
    "Switch the proxy's own login off for /mcp (nginx: auth_basic; Caddy: basic_auth), for the"
    " server asks for a token itself."
)


def challenge_of(response: httpx2.Response) -> str:
    return str(response.headers.get("www-authenticate", ""))


@check("stranger.challenge", "Without a token it asks for one")
def _(visit: Visit) -> str:
    methods = ("POST", "GET", "HEAD", "DELETE")
    for method, response in visit.each(methods, lambda method: visit.begin(method, "/mcp")):
        asked, status = f"{method} /mcp", response.status_code
        expect(
            not response.is_redirect,
            f"{asked} is redirected to {response.headers.get('location')}.",
            "Let the proxy or tunnel pass /mcp on to the server as it is, without a redirect, a"
            " slash at its end or a login of its own.",
        )
        if not visit.ours and method != "POST" and status in {404, 405}:
            continue  # a server need not offer more than POST
        expect(
            status == 401,
            f"{asked} without a token is answered with status {status}, not 401.",
            f"{pass_on(asked)[:-1]}; if the answer is the server's own, its authorization is off.",
        )
        expect(
            re.match(r"Bearer .*resource_metadata=", challenge_of(response)),
            f"WWW-Authenticate of {asked} is {challenge_of(response)!r}, without"
            " resource_metadata.",
            NO_LOGIN if challenge_of(response).lower().startswith("basic") else KEEP_CHALLENGE,
        )
    return "401 with resource_metadata"


@check("stranger.slash", "A slash at the end does no harm")
def _(visit: Visit) -> str:
    methods = ("POST", "GET", "HEAD", "DELETE")
    for method, response in visit.each(methods, lambda method: visit.begin(method, "/mcp/")):
        where = urljoin(f"{visit.url}/mcp/", response.headers.get("location", ""))
        inside = not visit.ours and where == f"{visit.url}/mcp"
        expect(
            not response.is_redirect or inside,
            f"{method} /mcp/ is redirected to {response.headers.get('location')}.",
            "Let the proxy or tunnel neither add nor remove a slash.",
        )
        absent = not visit.ours and (inside or response.status_code in {404, 405})
        expect(
            response.status_code == 401 or absent,
            f"{method} /mcp/ without a token is answered with status {response.status_code},"
            " not 401.",
            pass_on("/mcp/"),
        )
    return "/mcp/ is as well guarded"


@check("stranger.methods", "No method goes round the token")
def _(visit: Visit) -> str:
    methods = ("PUT", "PATCH", "OPTIONS", "PROPFIND")

    def ask(method: str) -> httpx2.Response:
        return visit.send(method, "/mcp", json=LIST, headers=ACCEPT)

    for method, response in visit.each(methods, ask):
        harmless = method == "OPTIONS" and "result" not in response.text
        expect(
            not response.is_success or harmless,
            f"{method} /mcp without a token is answered with {shape(response)}.",
            LETS_IN,
        )
        expect(
            response.status_code < 500 or response.status_code == 501,
            f"{method} /mcp is answered with {shape(response)}, where 401 or 405 is right.",
            RENEW,
        )
    return ", ".join(methods)


@check("stranger.bearer", "A made-up token opens nothing")
def _(visit: Visit) -> str:
    made_up = secrets.token_urlsafe(32)
    presented = {
        "a made-up token": f"Bearer {made_up}",
        "the token null": "Bearer null",
        "an empty token": "Bearer",
        "an empty Authorization": "",
        "a name and a password": "Basic YWRtaW46YWRtaW4=",
        "a token of another kind": f"Token {made_up}",
        "two tokens": f"Bearer {made_up}, Bearer {made_up}",
    }

    def ask(what: str) -> httpx2.Response:
        headers = {**ACCEPT, "Authorization": presented[what]}
        return visit.send("POST", "/mcp", json=LIST, headers=headers)

    for what, response in visit.each(presented, ask):
        expect(
            response.status_code == 401 or (not visit.ours and response.status_code == 400),
            f"POST /mcp with {what} is answered with {shape(response)}, not 401.",
            LETS_IN if response.is_success else pass_on("the header Authorization"),
        )
    return f"{len(presented)} attempts"


@check("stranger.query", "No token is taken from the address")
def _(visit: Visit) -> str:
    made_up = secrets.token_urlsafe(32)

    def ask(name: str) -> httpx2.Response:
        where = f"/mcp?{name}={made_up}"
        return visit.send("POST", where, json=LIST, headers=ACCEPT)

    (_, without), *tried = visit.each(("verify", "access_token", "token"), ask)
    for name, response in tried:
        expect(
            what_is_wrong(response) == what_is_wrong(without),
            f"POST /mcp looks at a token in {name}= of the address, which logs and histories keep.",
            "Let neither the server nor the proxy take a token from the address: only from the"
            " header Authorization.",
        )
    return "such an address is answered as if it had none"


def what_is_wrong(response: httpx2.Response) -> tuple[int, str]:
    error = re.search(r'error="([^"]*)"', challenge_of(response))
    return response.status_code, error[1] if error else ""


@check("stranger.host", "It answers only to its own name")
def _(visit: Visit) -> str:
    challenge = challenge_of(visit.send("POST", "/mcp", json=LIST, headers=ACCEPT))
    own = urlsplit(visit.url).netloc
    seen = "the connection is closed"
    for headers in ({"Host": STRANGER}, {"Host": STRANGER, "X-Forwarded-Host": own}):
        try:
            document, knock = asked_with(visit, headers)
        except Failed:
            continue
        seen = shape(knock)
        expect(
            not is_answered(document, knock, challenge),
            f"A request for the host {STRANGER} is answered as if it were its own.",
            KEEP_HOST,
        )
    return seen


def is_answered(document: httpx2.Response, knock: httpx2.Response, challenge: str) -> bool:
    """Tells whether this server answers, not another site behind the same proxy."""
    found, said = json_in(document), json_in(knock)
    own = document.is_success and isinstance(found, dict) and "issuer" in found
    open_to_it = knock.is_success and isinstance(said, dict) and "jsonrpc" in said
    same = knock.status_code == 401 and bool(challenge) and challenge_of(knock) == challenge
    return own or open_to_it or same


@check("stranger.forwarded", "Nobody can make up its address")
def _(visit: Visit) -> str:
    document, knock = asked_with(
        visit,
        {
            "X-Forwarded-Host": STRANGER,
            "X-Forwarded-Server": STRANGER,
            "X-Original-Host": STRANGER,
            "Forwarded": f"host={STRANGER};proto=http",
        },
    )
    for what, text in (("The metadata", document.text), ("The challenge", challenge_of(knock))):
        expect(
            STRANGER not in text,
            f"{what} names {STRANGER}, because a request said so in X-Forwarded-Host.",
            "Let the server take its address from its settings (here MCP_PUBLIC_URL), and the proxy"
            " overwrite the X-Forwarded headers.",
        )
    return "forwarded headers change nothing"


def asked_with(visit: Visit, headers: dict[str, str]) -> list[httpx2.Response]:
    """Returns the metadata and the challenge, asked for with headers that are made up.

    No cache keeps them for others: the address has never been asked for before.
    """
    fresh = {"verify": secrets.token_hex(8)}

    def ask(path: str) -> httpx2.Response:
        if path == "/mcp":
            whole = {**ACCEPT, **headers}
            return visit.send("POST", path, params=fresh, json=LIST, headers=whole)
        return visit.send("GET", path, params=fresh, headers=headers)

    return [response for _, response in visit.each((SERVER_METADATA, "/mcp"), ask)]


@check("stranger.origin", "A foreign page gets nothing")
def _(visit: Visit) -> str:
    origins = (f"https://{STRANGER}", f"{visit.url}.{STRANGER}", "null")

    def ask(origin: str) -> httpx2.Response:
        return visit.send("POST", "/mcp", json=LIST, headers={**ACCEPT, "Origin": origin})

    for origin, response in visit.each(origins, ask):
        expect(
            response.status_code == 403,
            f"POST /mcp from a page of {origin} is answered with {shape(response)}, not 403.",
            KEEP_ORIGIN,
        )
    return "403"
