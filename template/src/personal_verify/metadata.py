"""Do clients discover what they need, and the same everywhere?"""

from __future__ import annotations

import re
from typing import Any

from personal_verify.answers import json_in, null_members, shape
from personal_verify.checks import RENEW, check, expect, pass_on
from personal_verify.known import OPENID, RESOURCE_METADATA, SERVER_METADATA
from personal_verify.visit import Visit

ENDPOINTS = {
    "authorization_endpoint": "/authorize",
    "token_endpoint": "/token",
    "registration_endpoint": "/register",
    "revocation_endpoint": "/revoke",
}
LISTED = {
    "response_types_supported": ("code",),
    "grant_types_supported": ("authorization_code", "refresh_token"),
}


@check("metadata.server", "The sign-in can be discovered", "reach.json")
def _(visit: Visit) -> str:
    document = fetched(visit, SERVER_METADATA)
    for name in ("issuer", *ENDPOINTS):
        expect(isinstance(document.get(name), str), f"{name} is missing.", RENEW)
    for name, members in LISTED.items():
        lacks = missing(document, name, *members)
        expect(not lacks, f"{name} lacks {', '.join(lacks)}.", RENEW)
    visit.server = document
    return f"registration_endpoint and {len(document) - 1} more"


@check("metadata.resource", "The MCP endpoint can be discovered", "reach.json")
def _(visit: Visit) -> str:
    document = fetched(visit, f"{RESOURCE_METADATA}/mcp")
    servers = document.get("authorization_servers")
    one = isinstance(servers, list) and len(servers) == 1
    expect(isinstance(document.get("resource"), str), "resource is missing.", RENEW)
    expect(one, "authorization_servers must name exactly one server.", RENEW)
    lacks = missing(document, "bearer_methods_supported", "header")
    expect(not lacks, "bearer_methods_supported lacks header.", RENEW)
    visit.resource = document
    return "one resource, one authorization server"


@check("metadata.public_clients", "Clients need no secret", "metadata.server")
def _(visit: Visit) -> str:
    known = ("none", "client_secret_post", "client_secret_basic")
    lacks = missing(visit.server, "token_endpoint_auth_methods_supported", *known)
    expect(
        not lacks,
        f"token_endpoint_auth_methods_supported lacks {', '.join(lacks)}, without which clients"
        " fail.",
        RENEW,
    )
    return "none, or a secret in either way"


@check("metadata.pkce", "PKCE is announced", "metadata.server")
def _(visit: Visit) -> str:
    lacks = missing(visit.server, "code_challenge_methods_supported", "S256")
    expect(not lacks, "code_challenge_methods_supported lacks S256, so that clients stop.", RENEW)
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


@check("metadata.scopes", "Clients may stay signed in", "metadata.server", "metadata.resource")
def _(visit: Visit) -> str:
    lacks = missing(visit.server, "scopes_supported", "offline_access")
    expect(not lacks, "scopes_supported lacks offline_access: ChatGPT logs its users out.", RENEW)
    offered = visit.resource.get("scopes_supported", [])
    expect("offline_access" not in offered, "The resource's scopes name offline_access.", RENEW)
    return "offline_access, of the server only"


@check("metadata.documents", "Clients may name a document", "metadata.server")
def _(visit: Visit) -> str:
    flag = "client_id_metadata_document_supported"
    offered = visit.server.get(flag, False)
    expect(offered in {True, False}, f"{flag} is neither true, false nor absent.", RENEW)
    return "or register themselves" if offered else "switched off: clients register themselves"


@check("metadata.places", "It says the same everywhere", "metadata.server", "metadata.resource")
def _(visit: Visit) -> str:
    places = {
        f"{SERVER_METADATA}/mcp": visit.server,
        OPENID: visit.server,
        f"{OPENID}/mcp": visit.server,
        RESOURCE_METADATA: visit.resource,
    }
    for path, response in visit.each(places, visit.get):
        expect(
            response.status_code == 200 and json_in(response) == places[path],
            f"{path} gives another document ({shape(response)}).",
            "Let the proxy or tunnel lead all of /.well-known/ to the server, and cache none.",
        )
    return "6 addresses, 2 documents"


@check("metadata.slash", "No address ends with a slash", "metadata.server", "metadata.resource")
def _(visit: Visit) -> str:
    named = {"issuer": visit.server["issuer"], "resource": visit.resource["resource"]}
    named["authorization server"] = str(visit.resource["authorization_servers"][0])
    for what, address in named.items():
        expect(
            not address.endswith("/"),
            f"The {what} {address} ends with a slash, and clients compare it byte for byte.",
            f"Set MCP_PUBLIC_URL={visit.url} without a slash in .env, then restart the server.",
        )
    return "issuer, resource, authorization server"


@check("metadata.issuer", "It knows its public address", "metadata.server", "metadata.resource")
def _(visit: Visit) -> str:
    url, issuer = visit.url, visit.server["issuer"].rstrip("/")
    cure = f"Set MCP_PUBLIC_URL={url} in .env and restart, or verify the address that it names."
    expect(issuer == url, f"The server calls itself {issuer}, but was reached at {url}.", cure)
    for name, path in ENDPOINTS.items():
        given = visit.server[name]
        expect(given == url + path, f"{name} is {given}, not {url}{path}.", cure)
    resource, servers = visit.resource["resource"], visit.resource["authorization_servers"]
    expect(resource.rstrip("/") == f"{url}/mcp", f"The resource is {resource}.", cure)
    expect(servers[0].rstrip("/") == url, f"authorization_servers is {servers}, not {url}.", cure)
    return f"issuer {issuer}"


@check("metadata.challenge", "The challenge leads to it", "metadata.issuer")
def _(visit: Visit) -> str:
    challenge = visit.begin("POST", "/mcp").headers.get("www-authenticate", "")
    named = re.search(r'resource_metadata="([^"]*)"', challenge)
    expected = f"{visit.url}{RESOURCE_METADATA}/mcp"
    expect(
        named is None or named[1] == expected,  # whether there is one, stranger.challenge says
        f"WWW-Authenticate names {named and named[1]}, not {expected}.",
        pass_on("the header WWW-Authenticate"),
    )
    return "an absolute address of this server"


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
