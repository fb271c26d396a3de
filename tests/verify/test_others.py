"""Servers that were not made from the template are judged by what every client needs."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from starlette.types import ASGIApp

from personal_verify import discovery
from tests.verify.faults.making import Answering
from tests.verify.house import PASSWORD, House, Report
from tests.verify.others import bearer, documents, in_memory, remote, sdk, seed, website
from tests.verify.others import open as open_server
from tests.verify.others.serving import Watched, serving
from tests.verify.proxy import Answer, Asked, Fault, html_answer

Verify = Callable[..., Report]
Serve = Callable[[Callable[[str], ASGIApp]], tuple[str, Watched]]

# What every server on FastMCP 4.1 or the MCP SDK 2.3 lacks unless it is given it.
OF_THE_LIBRARIES = {
    "edge.cors",
    "metadata.public_clients",
    "metadata.iss",
    "metadata.scopes",
    "metadata.slash",
    "stranger.host",
    "stranger.origin",
    "stranger.errors",
    "stranger.pkce",
}


@pytest.fixture
def serve() -> Iterator[Serve]:
    with ExitStack() as running:
        yield lambda make: running.enter_context(serving(make))


def failed(report: Report) -> set[str]:
    for name in report.with_status("fail"):
        for sentence in (report.checks[name]["detail"], report.checks[name]["cure"]):
            assert sentence.endswith("."), sentence
            assert not re.search(r"[.!?] [A-Z]", sentence), sentence
    return set(report.with_status("fail"))


# ---- The server that the template replaces -------------------------------------------------------


def test_the_seed_has_exactly_these_faults(serve: Serve, verify_here: Verify) -> None:
    url, _ = serve(seed.app)

    report = verify_here(url, "--json", MCP_PASSWORD="my-secret")

    assert failed(report) == {
        *OF_THE_LIBRARIES,
        "stranger.token",
        "stranger.redirect",
        "stranger.code",
        "stranger.refresh",
    }
    assert report.code == 1
    assert report.json["ours"] is False


def test_the_faults_of_the_seed_are_said_in_words(serve: Serve, verify_here: Verify) -> None:
    url, _ = serve(seed.app)

    report = verify_here(url, "--json")

    told = {name: report.checks[name]["detail"] for name in report.with_status("fail")}
    assert "is answered with a code, without the owner" in told["stranger.token"]
    assert f"The issuer {url}/ ends with a slash" in told["metadata.slash"]
    assert "lacks none" in told["metadata.public_clients"]
    assert "authorization_response_iss_parameter_supported" in told["metadata.iss"]
    assert "as if it were its own" in told["stranger.host"]
    assert "https://stranger.example/callback?error=" in told["stranger.errors"]
    assert "status 401, invalid_grant" in told["stranger.code"]
    assert "anybody gets in" in report.checks["stranger.token"]["cure"]


def test_nothing_that_it_says_of_others_names_our_files_and_settings(
    serve: Serve, verify_here: Verify
) -> None:
    url, _ = serve(seed.app)

    report = verify_here(url, "--json")

    for name in report.with_status("fail"):
        cure = report.checks[name]["cure"]
        assert not re.search(r"(?<!FAST)MCP_|\.env|uv run|uvx|src/personal", cure), cure


def test_no_code_is_shown(serve: Serve, verify_here: Verify) -> None:
    url, _ = serve(seed.app)

    report = verify_here(url, "--json")

    assert "code=…" in report.checks["stranger.redirect"]["detail"]
    assert "test_auth_code" not in report.out


def test_that_a_server_is_of_others_is_said_once_and_first(
    serve: Serve, verify_here: Verify
) -> None:
    url, _ = serve(seed.app)

    report = verify_here(url)

    first, second = report.out.splitlines()[:2]
    assert first == f"{url}/mcp"
    assert second.startswith("This server was not made from copier-personal-mcp")
    assert report.out.count("This server was not made") == 1


# ---- Others --------------------------------------------------------------------------------------


def test_whoever_approves_everybody_is_named(serve: Serve, verify_here: Verify) -> None:
    url, _ = serve(in_memory.app)

    report = verify_here(url, "--json")

    approving = {"stranger.token", "stranger.redirect", "stranger.code", "stranger.refresh"}
    assert failed(report) == OF_THE_LIBRARIES | approving


def test_a_sign_in_with_a_page_of_its_own_keeps_strangers_out(
    serve: Serve, verify_here: Verify
) -> None:
    url, watched = serve(sdk.app)

    report = verify_here(url, "--json", MCP_PASSWORD=PASSWORD)

    assert failed(report) == {*OF_THE_LIBRARIES, "stranger.framing"}
    assert report.checks["stranger.token"]["status"] == "pass"
    assert report.checks["stranger.button"]["status"] == "pass", "the page was found"
    assert report.checks["stranger.page"]["status"] == "skip"
    assert not [path for _, path, sent in watched.asked if "a+password" in sent or PASSWORD in sent]


def test_without_registration_there_is_no_stranger_to_be(serve: Serve, verify_here: Verify) -> None:
    url, _ = serve(lambda url: sdk.app(url, registration=False))

    report = verify_here(url, "--json")

    assert "metadata.registration" in failed(report)
    reason = "clients can neither register themselves nor name a document"
    assert report.checks["stranger.token"]["detail"] == reason
    assert report.checks["stranger.bearer"]["status"] == "pass"


def test_a_sign_in_on_another_host_is_read_and_left_alone(
    serve: Serve, verify_here: Verify
) -> None:
    sign_in, watched = serve(sdk.app)
    url, own = serve(lambda url: remote.app(url, sign_in))

    report = verify_here(url, "--json", MCP_PASSWORD=PASSWORD)

    assert report.json["ours"] is False
    assert report.checks["metadata.server"]["status"] == "pass"
    assert sign_in[7:] in report.checks["metadata.server"]["detail"]
    assert report.checks["metadata.issuer"]["status"] == "pass"
    assert failed(report) == OF_THE_LIBRARIES - {
        *("edge.cors", "metadata.slash", "stranger.errors", "stranger.pkce")
    }
    assert sign_in[7:] in report.checks["stranger.token"]["detail"]
    asked = {(method, path.startswith("/.well-known/")) for method, path, _ in watched.asked}
    assert asked == {("GET", True)}
    assert not [sent for _, _, sent in (*own.asked, *watched.asked) if "password" in sent]


def test_whoever_names_a_document_need_not_register(serve: Serve, verify_here: Verify) -> None:
    url, _ = serve(documents.app)

    report = verify_here(url, "--json")

    assert failed(report) == {"edge.cors"}
    for name in ("stranger.token", "stranger.redirect", "stranger.pkce", "stranger.framing"):
        assert report.checks[name]["status"] == "pass"


def test_an_open_server_is_named(serve: Serve, verify_here: Verify) -> None:
    url, _ = serve(open_server.app)

    report = verify_here(url, "--json")

    assert failed(report) == {
        *("metadata.server", "metadata.resource", "stranger.challenge", "stranger.bearer"),
        *("stranger.host", "stranger.origin"),
    }
    assert "anybody gets in" in report.checks["stranger.bearer"]["cure"]


def test_a_token_for_everybody_is_no_sign_in(serve: Serve, verify_here: Verify) -> None:
    url, _ = serve(bearer.app)

    report = verify_here(url, "--json")

    assert failed(report) == {
        *("metadata.server", "metadata.resource"),
        *("stranger.challenge", "stranger.host", "stranger.origin"),
    }
    assert report.checks["stranger.bearer"]["status"] == "pass"
    assert report.checks["stranger.token"]["detail"] == "no sign-in can be discovered"


def test_a_web_site_is_no_mcp_server(serve: Serve, verify_here: Verify) -> None:
    url, _ = serve(website.app)

    report = verify_here(url, "--json", MCP_PASSWORD=PASSWORD)

    assert failed(report) == {"reach.health"}
    assert {check.partition(".")[0] for check in report.with_status("pass")} == {"reach"}
    assert report.json["ours"] is None
    assert report.checks["reach.health"]["detail"] == (
        f"No MCP server answers at {url}: POST /mcp is answered with status 404, an HTML page"
        " titled 'Not found'."
    )


@pytest.mark.parametrize(
    ("status", "title", "told"),
    [
        (502, "Bad gateway", "GET /healthz is answered with status 502"),
        (200, "Just a moment...", "No MCP server answers at"),
    ],
)
def test_where_the_proxy_answers_everything_one_check_fails(
    house: House, verify_here: Verify, status: int, title: str, told: str
) -> None:
    house.proxy.fault = Answering(lambda asked: True, lambda asked: html_answer(status, title))

    report = verify_here(house.url, "--json", MCP_PASSWORD=PASSWORD)

    assert failed(report) == {"reach.health"}
    assert report.checks["reach.health"]["detail"].startswith(told)
    assert title in report.checks["reach.health"]["detail"]
    assert report.json["ours"] is None


# ---- Where discovery leads -----------------------------------------------------------------------

HERE = "https://mcp.example.com"


@pytest.mark.parametrize(
    ("address", "may"),
    [
        (f"{HERE}/token", True),
        ("https://tenant.auth.example/oauth/token", True),
        ("http://tenant.auth.example/oauth/token", False),
        ("http://localhost:8050/token", False),
        ("http://127.0.0.1/token", False),
        ("ftp://mcp.example.com/token", False),
        ("file:///etc/passwd", False),
        ("/token", False),
        ("", False),
    ],
)
def test_nothing_is_asked_in_plain_text_or_on_this_computer(address: str, may: bool) -> None:
    assert discovery.may_ask(address, HERE) is may


def test_the_metadata_of_an_issuer_with_a_path_is_looked_for_as_rfc_8414_has_it() -> None:
    assert discovery.places_of("https://auth.example/tenant/") == [
        "https://auth.example/.well-known/oauth-authorization-server/tenant",
        "https://auth.example/.well-known/openid-configuration/tenant",
        "https://auth.example/tenant/.well-known/openid-configuration",
    ]


@pytest.mark.parametrize(
    ("challenge", "at"),
    [
        ('Bearer resource_metadata="https://mcp.example.com/elsewhere"', "/elsewhere"),
        ("Bearer resource_metadata=https://mcp.example.com/elsewhere", "/elsewhere"),
        ("Bearer", "/.well-known/oauth-protected-resource"),
        ("", "/.well-known/oauth-protected-resource"),
    ],
)
def test_the_challenge_or_either_place_leads_to_the_sign_in(challenge: str, at: str) -> None:
    documents = {
        f"{HERE}/elsewhere": {"resource": HERE, "authorization_servers": ["https://a.example/"]},
        "https://a.example/.well-known/openid-configuration": {
            "issuer": "https://a.example/",
            "token_endpoint": "https://a.example/token",
            "revocation_endpoint": "http://a.example/revoke",
        },
    }
    documents[f"{HERE}/.well-known/oauth-protected-resource"] = documents[f"{HERE}/elsewhere"]

    found = discovery.follow(HERE, challenge, documents.get)

    assert found.resource_at == HERE + at
    assert found.elsewhere == "a.example"
    assert found.endpoint("token") == "https://a.example/token"
    assert found.endpoint("revocation") == "", "it is not encrypted"
    assert found.endpoint("registration") == ""


def test_without_the_documents_of_rfc_9728_the_server_itself_is_asked() -> None:
    documents = {f"{HERE}/.well-known/oauth-authorization-server": {"issuer": HERE}}

    found = discovery.follow(HERE, "", documents.get)

    assert (found.resource_at, found.server, found.elsewhere) == ("", {"issuer": HERE}, "")


def test_a_page_in_the_server_s_place_is_no_proof_that_a_connection_has_ended(
    house: House, verify_here: Verify
) -> None:
    class Gone(Fault):
        granted = False

        def before(self, asked: Asked) -> Answer | None:
            return html_answer(502, "Bad gateway") if self.granted else None

        def after(self, asked: Asked, answer: Answer) -> None:
            self.granted = asked.path == "/token" and answer.status == 200

    house.proxy.fault = Gone()

    report = verify_here(house.url, "--json", MCP_PASSWORD=PASSWORD)

    assert report.err.startswith("A connection called verify.py may be left: see `uv run my-server")
