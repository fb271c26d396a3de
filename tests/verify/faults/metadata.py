"""Ways in which clients are told something wrong."""

from __future__ import annotations

import re
from typing import Any

from tests.verify.faults.making import (
    OPENID,
    RESOURCE_METADATA,
    SERVER_METADATA,
    Answering,
    Changing,
    Site,
    asking,
    at,
    breaks,
    exactly,
    replacing,
    with_header,
    with_members,
    without,
)
from tests.verify.proxy import Answer, Asked, Fault, html_answer, json_answer


def server_says(**members: Any) -> Fault:
    """Sets members of the authorization server's metadata; Ellipsis removes one."""
    return Changing(at(SERVER_METADATA, OPENID), with_members(**members))


def resource_says(**members: Any) -> Fault:
    """Sets members of the resource's metadata; Ellipsis removes one."""
    return Changing(at(RESOURCE_METADATA), with_members(**members))


@breaks("metadata.registration", "the metadata has no registration endpoint")
def _(site: Site) -> Fault:
    return server_says(registration_endpoint=...)


@breaks("metadata.public_clients", "public clients are not welcome")
def _(site: Site) -> Fault:
    methods = ["client_secret_post", "client_secret_basic"]
    return server_says(token_endpoint_auth_methods_supported=methods)


@breaks("metadata.server", "the metadata has a null member")
def _(site: Site) -> Fault:
    return server_says(service_documentation=None)


@breaks("metadata.resource", "the resource has two authorization servers")
def _(site: Site) -> Fault:
    servers = [site.url, "https://other.example"]
    return resource_says(authorization_servers=servers)


@breaks("metadata.server", "the metadata has no token endpoint")
def _(site: Site) -> Fault:
    return server_says(token_endpoint=...)


@breaks("metadata.server", "refreshing is not announced")
def _(site: Site) -> Fault:
    return server_says(grant_types_supported=["authorization_code"])


@breaks("metadata.scopes", "the server does not offer offline_access")
def _(site: Site) -> Fault:
    return server_says(scopes_supported=["tools"])


@breaks("metadata.resource_scopes", "the resource offers offline_access")
def _(site: Site) -> Fault:
    scopes = ["tools", "offline_access"]
    return resource_says(scopes_supported=scopes)


@breaks("metadata.places", "the alias below /mcp says something else")
def _(site: Site) -> Fault:
    return Changing(at(f"{SERVER_METADATA}/mcp"), with_members(issuer=f"{site.url}/mcp"))


@breaks("metadata.places", "the OpenID alias is missing")
def _(site: Site) -> Fault:
    return Answering(at(OPENID), lambda asked: json_answer(404, {"error": "not_found"}))


@breaks("metadata.places", "the root document of the resource is missing")
def _(site: Site) -> Fault:
    missing = json_answer(404, {"error": "not_found"})
    return Answering(exactly("GET", RESOURCE_METADATA), lambda asked: missing)


@breaks("metadata.slash", "the issuer ends with a slash")
def _(site: Site) -> Fault:
    return server_says(issuer=f"{site.url}/")


@breaks("metadata.issuer", "the public URL is another one")
def _(site: Site) -> Fault:
    def change(answer: Answer) -> None:
        replacing(re.escape(site.url), "https://mcp.example.com")(answer)
        for name, value in answer.headers.items():
            answer.headers[name] = value.replace(site.url, "https://mcp.example.com")

    return Changing(at("/.well-known/", "/mcp"), change)


@breaks("metadata.issuer", "an endpoint is on another host")
def _(site: Site) -> Fault:
    return server_says(token_endpoint="https://login.example.com/token")


@breaks("metadata.slash", "the resource ends with a slash")
def _(site: Site) -> Fault:
    return resource_says(resource=f"{site.url}/mcp/")


@breaks("metadata.pkce", "PKCE is not announced")
def _(site: Site) -> Fault:
    return server_says(code_challenge_methods_supported=...)


@breaks("metadata.pkce", "PKCE may be plain")
def _(site: Site) -> Fault:
    return server_says(code_challenge_methods_supported=["plain", "S256"])


@breaks("metadata.iss", "iss is not announced")
def _(site: Site) -> Fault:
    return server_says(authorization_response_iss_parameter_supported=...)


@breaks("metadata.issuer", "the server goes by its container's name")
def _(site: Site) -> Fault:
    return server_says(issuer="http://my-server:8050")


@breaks("metadata.issuer", "the resource is in a private network")
def _(site: Site) -> Fault:
    return resource_says(resource="http://192.168.1.20:8050/mcp")


@breaks("metadata.public", "the metadata names a private address")
def _(site: Site) -> Fault:
    return server_says(service_documentation="https://10.1.2.3/docs")


@breaks("metadata.public", "the resource names a page of a local network")
def _(site: Site) -> Fault:
    return resource_says(resource_documentation="http://nas.local/docs")


@breaks("metadata.public", "the metadata names a page without TLS")
def _(site: Site) -> Fault:
    return server_says(op_policy_uri="http://www.example.com/policy")


@breaks("metadata.type", "the metadata comes as text")
def _(site: Site) -> Fault:
    return Changing(exactly("GET", SERVER_METADATA), with_header("content-type", "text/plain"))


@breaks("metadata.type", "the resource's metadata has no type")
def _(site: Site) -> Fault:
    return Changing(exactly("GET", f"{RESOURCE_METADATA}/mcp"), without("content-type"))


@breaks("metadata.caching", "the proxy lets browsers keep the metadata for four hours")
def _(site: Site) -> Fault:
    return Changing(at("/.well-known/"), with_header("cache-control", "public, max-age=14400"))


@breaks("metadata.caching", "a cache answers with a document of yesterday")
def _(site: Site) -> Fault:
    return Changing(at(RESOURCE_METADATA), with_header("age", "86400"))


def claude_named(asked: Asked) -> bool:
    return asking(asked) and asked.query.get("client_id", "").startswith("https://claude.ai/")


@breaks("metadata.fetch", "the server cannot reach Claude's document", public=True)
def _(site: Site) -> Fault:
    return Answering(claude_named, lambda asked: html_answer(503, "Not possible now"))


@breaks("metadata.fetch", "Claude's document is refused in JSON", public=True)
def _(site: Site) -> Fault:
    return Answering(claude_named, lambda asked: json_answer(400, {"error": "invalid_client"}))


@breaks("metadata.challenge", "the challenge names the address behind the proxy")
def _(site: Site) -> Fault:
    def change(answer: Answer) -> None:
        challenge = answer.headers.get("www-authenticate", "")
        answer.headers["www-authenticate"] = challenge.replace(site.url, "http://127.0.0.1:8050")

    return Changing(at("/mcp"), change)


@breaks("metadata.documents", "it is not said whether a client may name a document")
def _(site: Site) -> Fault:
    return server_says(client_id_metadata_document_supported="yes")


@breaks("metadata.challenge", "the challenge names a relative address")
def _(site: Site) -> Fault:
    def change(answer: Answer) -> None:
        challenge = answer.headers.get("www-authenticate", "")
        answer.headers["www-authenticate"] = challenge.replace(site.url, "")

    return Changing(at("/mcp"), change)
