"""Are the documents where clients look, and do they name addresses that clients can use?"""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from personal_verify.answers import json_in, shape
from personal_verify.checks import check, expect, pass_on
from personal_verify.discovery import may_ask, origin
from personal_verify.known import OPENID, RESOURCE_METADATA, SERVER_METADATA
from personal_verify.project import is_loopback
from personal_verify.visit import Visit

ENDPOINTS = {
    "authorization_endpoint": "/authorize",
    "token_endpoint": "/token",
    "registration_endpoint": "/register",
    "revocation_endpoint": "/revoke",
}
JUDGED = {"issuer", "resource", "authorization_servers", *ENDPOINTS}
INSIDE = re.compile(r".*\.(local|internal|lan|home|localdomain|home\.arpa|test)")


@check("metadata.places", "It says the same everywhere", "metadata.server", "metadata.resource")
def _(visit: Visit) -> str:
    places = {RESOURCE_METADATA: visit.resource, f"{RESOURCE_METADATA}/mcp": visit.resource}
    if not visit.found.elsewhere:
        aliases = (SERVER_METADATA, f"{SERVER_METADATA}/mcp", OPENID, f"{OPENID}/mcp")
        places |= dict.fromkeys(aliases, visit.server)
    there = 0
    for path, response in visit.each(places, visit.get):
        same = response.status_code == 200 and json_in(response) == places[path]
        absent = response.status_code >= 400 and not visit.ours  # only ours has them all
        expect(
            same or absent,
            f"{path} gives another document ({shape(response)}).",
            "Let the proxy or tunnel lead all of /.well-known/ to the server, and cache none.",
        )
        there += same
    return f"{there} addresses, 2 documents"


@check("metadata.slash", "No address ends with a slash", "metadata.server", "metadata.resource")
def _(visit: Visit) -> str:
    named = {"resource": visit.resource["resource"]}
    if not visit.found.elsewhere:
        named["issuer"] = visit.server["issuer"]
        named["authorization server"] = visit.resource["authorization_servers"][0]
    for what, address in named.items():
        expect(
            not address.endswith("/"),
            f"The {what} {address} ends with a slash, and clients compare it byte for byte.",
            f"Set MCP_PUBLIC_URL={visit.url} without a slash in .env, then restart the server.",
        )
    return ", ".join(sorted(named))


@check("metadata.issuer", "It knows its public address", "metadata.server", "metadata.resource")
def _(visit: Visit) -> str:
    url, issuer, named = visit.url, visit.server["issuer"], visit.resource["authorization_servers"]
    cure = (
        "Verify the address that it names; if clients are to use this one instead, set"
        f" MCP_PUBLIC_URL={url} in .env and restart."
    )
    if visit.found.elsewhere:
        expect(
            issuer == named[0],
            f"The authorization server calls itself {issuer}, not {named[0]} as the resource does.",
            f"Let the resource's metadata name {issuer}, then restart the server.",
        )
    else:
        bare = issuer.rstrip("/")
        told = f"The server calls itself {bare}{kind_of(bare, url)}, but was reached at {url}."
        expect(bare == url, told, cure)
        expect(named[0].rstrip("/") == url, f"authorization_servers is {named}, not {url}.", cure)
        for name, path in ENDPOINTS.items():
            given = visit.server.get(name, url + path)  # whether it is there, others say
            usable = not visit.ours and may_ask(given, url)
            told = f"{name} is {given}{kind_of(given, url)}, not {url}{path}."
            expect(usable or given == url + path, told, cure)
    resource = visit.resource["resource"].rstrip("/")
    known = {f"{url}/mcp"} if visit.ours else {f"{url}/mcp", url}
    expect(resource in known, f"The resource is {resource}{kind_of(resource, url)}.", cure)
    return f"issuer {issuer}"


@check("metadata.public", "No address is a private one", "metadata.server", "metadata.resource")
def _(visit: Visit) -> str:
    documents = {"server": visit.server, "MCP endpoint": visit.resource}
    for what, document in documents.items():
        for member, address in addresses_in(document):
            kind = kind_of(address, visit.url)
            expect(
                member in JUDGED or not kind,
                f"{member} in the metadata of the {what} is {address}{kind}.",
                f"Set MCP_PUBLIC_URL={visit.url} in .env and restart, and let the proxy or tunnel"
                " not rewrite addresses.",
            )
    return "all can be reached by clients"


@check("metadata.challenge", "The challenge leads to it", "metadata.issuer")
def _(visit: Visit) -> str:
    challenge = visit.begin("POST", "/mcp").headers.get("www-authenticate", "")
    named = re.search(r'resource_metadata="?([^",\s]*)', challenge)
    if named is None:
        return "it names none, see stranger.challenge"
    expected = f"{visit.url}{RESOURCE_METADATA}/mcp" if visit.ours else visit.found.resource_at
    expect(
        named[1] == expected,
        f"WWW-Authenticate names {named[1]}{kind_of(named[1], visit.url)}, not {expected}.",
        pass_on("the header WWW-Authenticate"),
    )
    return "an absolute address of this server"


def addresses_in(value: Any, member: str = "") -> Iterator[tuple[str, str]]:
    """Returns the addresses that a document names, each with its member."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from addresses_in(inner, name)
    elif isinstance(value, list):
        for inner in value:
            yield from addresses_in(inner, member)
    elif isinstance(value, str) and re.match(r"https?://", value):
        yield member, value


def kind_of(address: str, url: str) -> str:
    """Says why clients of a server cannot use an address, nothing when they can."""
    try:
        parts = urlsplit(address)
        host = parts.hostname or ""
    except ValueError:
        return ", which is no address"
    if not host:
        return ", which is no address"
    if origin(address) == url:
        return ""
    if is_loopback(address):
        return ", which is another place on each computer"
    if is_private(host):
        return ", which only its own network knows"
    return ", which is not encrypted" if parts.scheme == "http" else ""


def is_private(host: str) -> bool:
    """Tells whether a host can be reached only from inside, such as a container's name."""
    try:
        return not ip_address(host).is_global
    except ValueError:
        return "." not in host or INSIDE.fullmatch(host) is not None
