"""What the server publishes, where, and to which pages."""

from __future__ import annotations

from pathlib import Path

import pytest
from starlette.routing import Match

from tests.support.asgi import AppServer
from tests.support.site import CALLBACK, URL, Site

KNOWN = "/.well-known"
SERVER = [
    f"{KNOWN}/oauth-authorization-server",
    f"{KNOWN}/oauth-authorization-server/mcp",
    f"{KNOWN}/openid-configuration",
    f"{KNOWN}/openid-configuration/mcp",
]
RESOURCE = [f"{KNOWN}/oauth-protected-resource", f"{KNOWN}/oauth-protected-resource/mcp"]


def test_the_server_metadata_is_the_same_everywhere(shared_site: Site) -> None:
    answers = [shared_site.visitor().get(path) for path in SERVER + [p + "/" for p in SERVER]]

    assert {a.status_code for a in answers} == {200}
    assert len({a.text for a in answers}) == 1
    document = answers[0].json()
    assert document["issuer"] == URL
    assert document["authorization_endpoint"] == f"{URL}/authorize"
    assert document["token_endpoint"] == f"{URL}/token"
    assert document["registration_endpoint"] == f"{URL}/register"
    assert document["revocation_endpoint"] == f"{URL}/revoke"
    assert document["code_challenge_methods_supported"] == ["S256"]
    assert "none" in document["token_endpoint_auth_methods_supported"]
    assert document["authorization_response_iss_parameter_supported"] is True
    assert "offline_access" in document["scopes_supported"]
    assert None not in document.values()


def test_the_resource_metadata_is_the_same_everywhere(shared_site: Site) -> None:
    answers = [shared_site.visitor().get(path) for path in RESOURCE]

    assert (
        answers[0].json()
        == answers[1].json()
        == {
            "resource": f"{URL}/mcp",
            "authorization_servers": [URL],
            "scopes_supported": ["tools"],
            "bearer_methods_supported": ["header"],
        }
    )


def test_a_trailing_slash_in_the_setting_does_not_reach_the_issuer(site: Site) -> None:
    site.restart(base_url=f"{URL}/")

    assert site.visitor().get(SERVER[0]).json()["issuer"] == URL


def test_an_app_that_serves_the_metadata_at_its_root_serves_nothing_else_of_ours(
    tmp_path: Path,
) -> None:
    server = AppServer(tmp_path / "state")
    try:
        routes = server.provider.get_well_known_routes("/mcp")
    finally:
        server.stop()

    def served(method: str, path: str) -> bool:
        scope = {"type": "http", "method": method, "path": path}
        return any(route.matches(scope)[0] is Match.FULL for route in routes)

    assert all(served("GET", path) for path in [*SERVER, *RESOURCE])
    others = [("POST", "/token"), ("POST", "/register"), ("GET", "/authorize"), ("GET", "/owner")]
    assert not any(served(*other) for other in others)


def test_nothing_else_below_well_known_is_json_404(shared_site: Site) -> None:
    answer = shared_site.visitor().get(f"{KNOWN}/something")

    assert (answer.status_code, answer.json()["error"]) == (404, "not_found")


@pytest.mark.parametrize("path", SERVER + RESOURCE)
def test_head_is_answered_like_get(shared_site: Site, path: str) -> None:
    answer = shared_site.visitor().request("HEAD", path)

    assert (answer.status_code, answer.content) == (200, b"")


@pytest.mark.parametrize("path", [*SERVER, *RESOURCE, "/register", "/token", "/revoke"])
def test_pages_of_any_origin_may_read_what_is_public(shared_site: Site, path: str) -> None:
    visitor = shared_site.visitor(origin="https://somewhere.example")
    asked = {
        "access-control-request-method": "POST",
        "access-control-request-headers": "content-type, mcp-protocol-version",
    }

    preflight = visitor.request("OPTIONS", path, headers=asked)
    answer = visitor.get(path)

    assert preflight.status_code == 204
    assert preflight.headers["access-control-allow-origin"] == "*"
    assert (
        preflight.headers["access-control-allow-headers"] == asked["access-control-request-headers"]
    )
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "WWW-Authenticate" in answer.headers["access-control-expose-headers"]


def test_the_consent_page_is_readable_by_no_other_page(shared_site: Site) -> None:
    visitor = shared_site.visitor(origin="https://somewhere.example")

    answer = visitor.get("/authorize")

    assert "access-control-allow-origin" not in answer.headers


def test_a_registration_answers_what_was_registered_without_nulls(shared_site: Site) -> None:
    body = {"client_name": "A  name\nof lines", "redirect_uris": [CALLBACK], "scope": ""}

    answer = shared_site.visitor().post("/register", json=body)

    assert answer.status_code == 201
    assert answer.headers["cache-control"] == "no-store"
    document = answer.json()
    assert document["client_name"] == "A name of lines"
    assert document["redirect_uris"] == [CALLBACK]
    assert document["token_endpoint_auth_method"] == "none"
    assert isinstance(document["client_id_issued_at"], int)
    assert "client_secret" not in document
    assert len(document["client_id"]) <= 255
