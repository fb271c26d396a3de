"""Do clients discover what they need to sign in?"""

from __future__ import annotations

from typing import Any

import httpx2

from personal_verify.answers import Page, json_in, null_members, shape
from personal_verify.apps import App
from personal_verify.checks import RENEW, Skipped, check, expect, pass_on
from personal_verify.known import CLAUDE, CLAUDE_DOCUMENT, RESOURCE_METADATA, SERVER_METADATA
from personal_verify.project import is_loopback
from personal_verify.signin import ask, registered
from personal_verify.visit import Visit

ENDPOINTS = ("authorization_endpoint", "token_endpoint")
LISTED = {
    "response_types_supported": ("code",),
    "grant_types_supported": ("authorization_code", "refresh_token"),
}
OFFER = "Let the server offer a sign-in as MCP's authorization chapter has it (RFC 9728, RFC 8414)."


@check("metadata.server", "The sign-in can be discovered", "reach.json")
def _(visit: Visit) -> str:
    expect(
        visit.ours or visit.found.server_at,
        "Nothing names an authorization server, so clients such as Claude cannot sign in.",
        OFFER,
    )
    document = fetched(visit, SERVER_METADATA if visit.ours else visit.found.server_at)
    needed = (*ENDPOINTS, "revocation_endpoint") if visit.ours else ENDPOINTS
    for name in ("issuer", *needed):
        expect(isinstance(document.get(name), str), f"{name} is missing.", RENEW)
    for name, members in LISTED.items():
        lacks = missing(document, name, *members)
        expect(not lacks, f"{name} lacks {', '.join(lacks)}.", RENEW)
    visit.server = document
    where = f", at {visit.found.elsewhere}" if visit.found.elsewhere else ""
    return f"issuer and {len(document) - 1} more{where}"


@check("metadata.resource", "The MCP endpoint can be discovered", "reach.json")
def _(visit: Visit) -> str:
    own = f"{RESOURCE_METADATA}/mcp"
    expect(
        visit.ours or visit.found.resource_at,
        f"Neither the challenge nor {own} leads to the metadata of the MCP endpoint.",
        OFFER,
    )
    document = fetched(visit, own if visit.ours else visit.found.resource_at)
    servers = document.get("authorization_servers")
    one = isinstance(servers, list) and len(servers) == 1 and isinstance(servers[0], str)
    expect(isinstance(document.get("resource"), str), "resource is missing.", RENEW)
    expect(one, "authorization_servers must name exactly one server.", RENEW)
    lacks = missing(document, "bearer_methods_supported", "header")
    allowed = not lacks or (not visit.ours and "bearer_methods_supported" not in document)
    expect(allowed, "bearer_methods_supported lacks header.", RENEW)
    visit.resource = document
    return "one resource, one authorization server"


@check("metadata.registration", "Clients can introduce themselves", "metadata.server")
def _(visit: Visit) -> str:
    named = isinstance(visit.server.get("registration_endpoint"), str)
    document = visit.server.get("client_id_metadata_document_supported") is True
    expect(
        named or (document and not visit.ours),
        "registration_endpoint is missing, so clients cannot register themselves.",
        RENEW,
    )
    return "registration_endpoint" if named else "by a metadata document only"


@check("metadata.public_clients", "Clients need no secret", "metadata.server")
def _(visit: Visit) -> str:
    known = ("none", "client_secret_post", "client_secret_basic") if visit.ours else ("none",)
    lacks = missing(visit.server, "token_endpoint_auth_methods_supported", *known)
    expect(
        not lacks,
        f"token_endpoint_auth_methods_supported lacks {', '.join(lacks)}, without which clients"
        " fail.",
        RENEW,
    )
    return "none, or a secret in either way" if visit.ours else "none"


@check("metadata.pkce", "PKCE is announced", "metadata.server")
def _(visit: Visit) -> str:
    name = "code_challenge_methods_supported"
    lacks = missing(visit.server, name, "S256")
    expect(not lacks, f"{name} lacks S256, so that clients stop.", RENEW)
    expect("plain" not in visit.server[name], f"{name} offers plain, which proves nothing.", RENEW)
    return "S256"


@check("metadata.iss", "Answers name who gives them", "metadata.server")
def _(visit: Visit) -> str:
    flag = "authorization_response_iss_parameter_supported"
    expect(
        visit.server.get(flag) is True,
        f"{flag} is not true, so that ChatGPT takes another address for its answers.",
        RENEW,
    )
    return "iss, as RFC 9207 has it"


@check("metadata.scopes", "Clients may stay signed in", "metadata.server")
def _(visit: Visit) -> str:
    lacks = missing(visit.server, "scopes_supported", "offline_access")
    expect(not lacks, "scopes_supported lacks offline_access: ChatGPT logs its users out.", RENEW)
    return "offline_access"


@check("metadata.resource_scopes", "No offline_access at the endpoint", "metadata.resource")
def _(visit: Visit) -> str:
    offered = visit.resource.get("scopes_supported", [])
    expect(
        isinstance(offered, list) and "offline_access" not in offered,
        f"The resource's scopes are {offered}, which must be a list without offline_access.",
        RENEW,
    )
    return f"{len(offered)} of its own"


@check("metadata.documents", "Clients may name a document", "metadata.server")
def _(visit: Visit) -> str:
    flag = "client_id_metadata_document_supported"
    offered = visit.server.get(flag, False)
    expect(offered in {True, False}, f"{flag} is neither true, false nor absent.", RENEW)
    return "or register themselves" if offered else "switched off: clients register themselves"


@check("metadata.fetch", "It can fetch Claude's document", "metadata.documents")
def _(visit: Visit) -> str:
    if visit.server.get("client_id_metadata_document_supported") is not True:
        return "switched off"
    if visit.found.elsewhere:
        return f"left to {visit.found.elsewhere}"
    if not fetches_documents(visit.url):
        return "not needed on this computer: tried at a public address"
    response = ask(visit, App(CLAUDE_DOCUMENT, CLAUDE).question())
    if shows_way(visit, response):
        return CLAUDE_DOCUMENT
    if not shows_way(visit, ask(visit, registered(visit, CLAUDE).question())):
        return "Claude may not connect here, however it names itself"
    expect(
        False,
        f"/authorize answers Claude, which names {CLAUDE_DOCUMENT}, with {shape(response)}.",
        "Let the server reach https://claude.ai (try `curl -sI https://claude.ai` on its machine"
        " or in its container), or set MCP_CLIENT_DOCUMENTS=false in .env and restart.",
    )
    return ""


def fetches_documents(url: str) -> bool:
    """Tells whether a server at a URL has to fetch what clients publish."""
    return url.startswith("https:") and not is_loopback(url)


def shows_way(visit: Visit, response: httpx2.Response) -> bool:
    """Tells whether a browser gets on from here, to the page or to a sign-in."""
    if visit.ours:
        return Page(response).asks
    return response.status_code < 400


@check("metadata.type", "The documents are marked as JSON", "reach.json")
def _(visit: Visit) -> str:
    for path, response in documents_of(visit):
        kind = response.headers.get("content-type", "")
        expect(
            response.status_code != 200
            or kind.partition(";")[0].strip().lower() == "application/json",
            f"The Content-Type of {path} is {kind!r}, not application/json.",
            pass_on("the header Content-Type"),
        )
    return "application/json"


LONG_SECONDS = 60 * 60  # 1 hour


@check("metadata.caching", "No cache keeps old documents", "reach.json")
def _(visit: Visit) -> str:
    cure = (
        "Cloudflare: under Caching > Cache Rules let this host bypass the cache, and let the"
        " Browser Cache TTL respect existing headers; elsewhere cache nothing below /.well-known/."
    )
    for path, response in documents_of(visit):
        life, age = seconds_in(response.headers)
        expect(life <= LONG_SECONDS, f"{path} may be kept for {life} s, so changes are late.", cure)
        expect(age <= LONG_SECONDS, f"{path} comes from a cache, {age} s old.", cure)
    return "an hour at most"


def seconds_in(headers: Any) -> tuple[int, int]:
    """Returns how long caches may keep an answer, and how long one has kept it."""
    life = 0
    for part in headers.get("cache-control", "").lower().split(","):
        name, _, value = part.strip().partition("=")
        if name in {"max-age", "s-maxage"} and value.strip('"').isdigit():
            life = max(life, int(value.strip('"')))
    age = headers.get("age", "")
    return life, int(age) if age.isdigit() else 0


def documents_of(visit: Visit) -> list[tuple[str, httpx2.Response]]:
    """Returns where the documents are, and how they come.

    Raises:
        Skipped: There are none.
    """
    if not visit.documents:
        own = (SERVER_METADATA, f"{RESOURCE_METADATA}/mcp")
        places = own if visit.ours else (visit.found.server_at, visit.found.resource_at)
        visit.documents = visit.each([place for place in places if place], visit.get)
    if not visit.documents:
        raise Skipped("there is no document")
    return visit.documents


def missing(document: dict[str, Any], name: str, *members: str) -> list[str]:
    """Returns what a list in a document lacks, everything when there is no such list."""
    given = document.get(name)
    return [m for m in members if not isinstance(given, list) or m not in given]


def fetched(visit: Visit, path: str) -> dict[str, Any]:
    """Returns a metadata document.

    Raises:
        Failed: It is not there, or is no JSON object without null members.
    """
    response = visit.get(path)
    document = json_in(response)
    expect(
        response.status_code == 200 and isinstance(document, dict),
        f"{path} gives {shape(response)}.",
        "Let the proxy or tunnel lead /.well-known/ to the server too.",
    )
    nulls = null_members(document)
    expect(not nulls, f"{path} has null members: {', '.join(nulls)}.", RENEW)
    whole: dict[str, Any] = document
    return whole
