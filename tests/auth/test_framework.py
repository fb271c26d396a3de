"""The contract with FastMCP and the MCP SDK: what our code relies on and does not own.

A failure here after an update of either names the line of ours that depends on what changed.
"""

from __future__ import annotations

import inspect
import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fastmcp
import pytest
from fastmcp import FastMCP
from fastmcp.server.auth import AccessToken, AuthProvider, ssrf
from fastmcp.server.auth.cimd import CIMDAssertionValidator, CIMDDocument
from fastmcp.server.dependencies import get_access_token
from joserfc import jwk, jwt
from mcp.server.auth.middleware.auth_context import AuthContextMiddleware
from mcp.server.auth.middleware.auth_context import get_access_token as sdk_access_token
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from starlette.authentication import AuthCredentials
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from tests.support.asgi import HOST, Answer, AppLoop, AppServer, Header, http_scope
from tests.support.site import URL, connect

CALL = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "ping"}}
CLIENT = "https://client.example/metadata.json"
TOKEN_ENDPOINT = f"{URL}/token"


class Probe(AuthProvider):
    """A provider as ours hangs on FastMCP, that writes down when it is asked for what."""

    def __init__(self, *, user: bool = True, scopes: tuple[str, ...] = ("tools",)) -> None:
        super().__init__(base_url=URL, required_scopes=["tools"])
        self.asked: list[str] = []
        self.seen: list[str] = []
        self.user, self.scopes = user, list(scopes)

    def get_middleware(self) -> list[Middleware]:
        self.asked.append("middleware")
        return [Middleware(Before, probe=self), Middleware(AuthContextMiddleware)]

    def get_routes(self, mcp_path: str | None = None) -> list[Route]:
        self.asked.append(f"routes {mcp_path}")
        metadata = "/.well-known/oauth-protected-resource/mcp"
        return [Route("/token", plain, methods=["POST"]), Route(metadata, plain)]


class Before:
    """Stands where Front stands and admits as Front admits."""

    def __init__(self, app: Any, probe: Probe) -> None:
        self.app, self.probe = app, probe

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.probe.seen.append(scope.get("path", scope["type"]))
        if scope["type"] == "http" and self.probe.user:
            token = AccessToken(
                token="grant:1",
                client_id="an app",
                scopes=self.probe.scopes,
                expires_at=2_000_000_000,
                subject="owner",
                claims={"grant_id": "1"},
            )
            scope["auth"] = AuthCredentials(self.probe.scopes)
            scope["user"] = AuthenticatedUser(token)
        await self.app(scope, receive, send)
        self.probe.seen += [] if "endpoint" in scope else [f"{scope.get('path')} has no endpoint"]


async def plain(request: Request) -> Response:
    return PlainTextResponse("plain")


@contextmanager
def served(probe: AuthProvider | None, **options: Any) -> Iterator[AppLoop]:
    server = FastMCP("test", auth=probe)

    @server.tool(description="Says who calls.")
    def ping() -> str:
        token, of_sdk = get_access_token(), sdk_access_token()
        assert token is not None
        assert token is of_sdk
        return json.dumps([token.token, token.client_id, token.subject, token.claims])

    server.custom_route("/healthz", methods=["GET"])(plain)
    loop = AppLoop(server.http_app(**{"stateless_http": True, "json_response": True, **options}))
    yield loop
    loop.stop()


def call(app: AppLoop, *headers: Header) -> Answer:
    base = [(b"content-type", b"application/json"), (b"accept", b"application/json"), *headers]
    if not any(name == b"host" for name, _ in headers):
        base.append((b"host", HOST))
    return app.ask(http_scope("POST", "/mcp", base), [json.dumps(CALL).encode()])


BEARER = (b"authorization", b"Bearer anything")


def test_a_provider_is_asked_for_middleware_then_once_for_its_routes() -> None:
    probe = Probe()

    with served(probe):
        pass

    assert probe.asked == ["middleware", "routes /mcp"], (
        "provider.py opens the state in get_routes() and builds Front in get_middleware():"
        " look at create_streamable_http_app in fastmcp/server/http.py for what is called when."
    )


def test_the_routes_are_asked_for_before_the_port_is_bound() -> None:
    bound: list[bool] = []
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    class Refusing(Probe):
        def get_routes(self, mcp_path: str | None = None) -> list[Route]:
            with socket.socket() as taken:
                bound.append(taken.connect_ex(("127.0.0.1", port)) == 0)
            raise SystemExit(2)

    server = FastMCP("test", auth=Refusing())

    with pytest.raises(SystemExit) as refused:
        server.run(transport="streamable-http", host="127.0.0.1", port=port, show_banner=False)

    assert (bound, refused.value.code) == ([False], 2), (
        "provider.py's get_routes() refuses a start by SystemExit(2) before anybody can connect:"
        " look at run_http_async in fastmcp/server/mixins/transport.py for what happens earlier."
    )


def test_the_middleware_stands_before_every_route_and_the_lifespan() -> None:
    probe = Probe()

    with served(probe) as app:
        for path in ["/mcp", "/token", "/healthz", "/nothing"]:
            app.ask(http_scope("GET", path, [(b"host", HOST)]))

    seen = [path for path in probe.seen if "endpoint" not in path]
    assert seen == ["lifespan", "/mcp", "/token", "/healthz", "/nothing"], (
        "Front (front.py) guards every path and starts and stops the service with the lifespan:"
        " look at create_base_app in fastmcp/server/http.py for where middleware is put."
    )


def test_the_router_marks_what_it_found_and_says_what_it_did_not_in_plain_text() -> None:
    probe = Probe()

    with served(probe) as app:
        found = {
            path: app.ask(http_scope("GET", path, [(b"host", HOST)]))
            for path in ["/token", "/healthz", "/nothing"]
        }

    marks = [path for path in probe.seen if "has no endpoint" in path and path.startswith("/")]
    told = [(answer.status, answer.kind, answer.header("allow")) for answer in found.values()]
    assert marks == ["/nothing has no endpoint"], (
        "front.py's _instead() takes a 404 without scope['endpoint'] for the router's own:"
        " look at Router.app in starlette/routing.py."
    )
    assert told == [
        (405, "text/plain", "POST"),
        (200, "text/plain", ""),
        (404, "text/plain", ""),
    ], (
        "front.py's _instead() turns the router's plain 404 and 405 into JSON and keeps Allow:"
        " look at Route.handle in starlette/routing.py and at starlette/middleware/exceptions.py."
    )


def test_a_scope_with_user_and_auth_is_let_through_and_a_tool_sees_the_token() -> None:
    with served(Probe()) as app:
        answer = call(app, BEARER)

    assert answer.status == 200, (
        "provider.py's _admit() sets scope['user'] and scope['auth'] as the SDK's bearer"
        " middleware does: look at RequireAuthMiddleware in mcp/server/auth/middleware/bearer_auth"
        ".py and in fastmcp/server/auth/middleware.py for what they ask for."
    )
    text = json.loads(answer.body)["result"]["content"][0]["text"]
    assert json.loads(text) == ["grant:1", "an app", "owner", {"grant_id": "1"}], (
        "provider.py's _access_token() promises tools the grant, client, subject and claims:"
        " look at get_access_token in fastmcp/server/dependencies.py."
    )


@pytest.mark.parametrize(
    ("probe", "headers", "status"),
    [
        (lambda: Probe(user=False), [BEARER], 401),
        (lambda: Probe(), [], 401),
        (lambda: Probe(scopes=()), [BEARER], 403),
    ],
    ids=["no user", "no bearer header", "no scope"],
)
def test_the_endpoint_stays_closed_when_the_middleware_admits_nobody(
    probe: Callable[[], Probe], headers: list[Header], status: int
) -> None:
    with served(probe()) as app:
        answer = call(app, *headers)

    assert answer.status == status, (
        "front.py is not the only lock: provider.py's required_scopes close /mcp a second time:"
        " look at RequireAuthMiddleware in fastmcp/server/auth/middleware.py."
    )


def test_a_tool_learns_the_grant_and_never_the_token(tmp_path: Path) -> None:
    server = AppServer(tmp_path / "state")
    seen: list[AccessToken | None] = []
    server.app.state.fastmcp_server.tool(
        lambda: str(seen.append(get_access_token())), name="who", description="Says who calls."
    )
    app, tokens = connect(server)
    message = {**CALL, "params": {"name": "who"}}
    headers = {"authorization": f"Bearer {tokens['access_token']}", "accept": "*/*"}

    answer = server.visitor().post("/mcp", json=message, headers=headers)
    server.stop()

    assert answer.status_code == 200
    (token,) = seen
    assert token is not None
    assert (token.client_id, token.subject, token.scopes) == (app.id, "owner", ["tools"]), (
        "provider.py's _access_token() is what tools ask for: look at the fields of AccessToken in"
        " mcp/server/auth/provider.py and fastmcp/server/auth/auth.py."
    )
    assert token.token == f"grant:{token.claims['grant_id']}", "see provider.py's _access_token()"
    assert tokens["access_token"] not in repr(token), "see provider.py's _access_token()"


def test_the_base_class_keeps_url_scopes_and_path() -> None:
    provider = Probe()

    provider.set_mcp_path("/mcp")

    kept = (str(provider.base_url), provider.required_scopes, str(provider._resource_url))
    assert kept == (f"{URL}/", ["tools"], f"{URL}/mcp"), (
        "provider.py hands base_url, required_scopes and the path to AuthProvider and relies on"
        " the defaults of the rest: look at its __init__ and set_mcp_path in"
        " fastmcp/server/auth/auth.py."
    )


def test_fastmcp_guards_no_host_when_told_so_and_by_default() -> None:
    foreign = (b"host", b"somewhere.example")

    with served(None, host_origin_protection=False) as told, served(None) as default:
        answers = [app.ask(http_scope("GET", "/healthz", [foreign])) for app in (told, default)]

    assert [answer.status for answer in answers] == [200, 200], (
        "front.py alone judges Host and Origin; app.py passes host_origin_protection=False and the"
        " quick start relies on its default: look at http_host_origin_protection in"
        " fastmcp/settings.py and at create_streamable_http_app."
    )


def test_stateless_json_answers_are_json_without_a_session() -> None:
    with served(Probe()) as app:
        answer = call(app, BEARER)
        stream = app.ask(http_scope("GET", "/mcp", [(b"host", HOST), BEARER]))

    assert (answer.kind, answer.header("mcp-session-id"), stream.status) == (
        "application/json",
        "",
        405,
    ), (
        "app.py serves with stateless_http=True and json_response=True: look at"
        " StreamableHTTPSessionManager in mcp/server/streamable_http_manager.py."
    )


def test_run_takes_what_app_passes() -> None:
    passed = {"transport", "sockets", "path", "stateless_http", "json_response", "show_banner"}
    passed |= {"host_origin_protection", "uvicorn_config"}

    taken = set(inspect.signature(FastMCP.run_http_async).parameters)

    assert passed <= taken, (
        f"app.py's run() passes {sorted(passed - taken)} to FastMCP.run(): look at run_http_async"
        " in fastmcp/server/mixins/transport.py."
    )
    assert fastmcp.settings.check_for_updates is not None, (
        "app.py turns the look for updates off: look at check_for_updates in fastmcp/settings.py."
    )


def test_a_custom_route_is_not_behind_the_token() -> None:
    with served(Probe(user=False)) as app:
        answer = app.ask(http_scope("GET", "/healthz", [(b"host", HOST)]))

    assert (answer.status, answer.body) == (200, b"plain"), (
        "app.py serves /healthz by custom_route without a token: look at custom_route in"
        " fastmcp/server/mixins/transport.py."
    )


# What metadata documents are fetched with


FETCH = (
    "outside.is_public relies on ssrf.is_ip_allowed to know the public addresses: look at"
    " fastmcp/server/auth/ssrf.py."
)


@pytest.mark.parametrize("address", ["93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c"])
def test_a_public_address_is_known(address: str) -> None:
    assert ssrf.is_ip_allowed(address), FETCH


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "10.0.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1"),
        *("::1", "::ffff:10.0.0.1", "64:ff9b::a00:1", "2002:a00:1::", "fe80::1", "no address"),
    ],
)
def test_an_address_inside_is_known(address: str) -> None:
    assert not ssrf.is_ip_allowed(address), FETCH


@contextmanager
def refused(kind: type[Exception], sentence: str) -> Iterator[None]:
    """Demands that an exception is raised; says what depends on it when none is."""
    try:
        yield
    except kind:
        return
    pytest.fail(sentence)


@contextmanager
def loop() -> Iterator[AppLoop]:
    with served(None) as app:
        yield app


# What a client's signed assertion is checked with


ASSERTION = (
    "the check of private_key_jwt relies on CIMDAssertionValidator.validate_assertion and on"
    " CIMDDocument's jwks and jwks_uri: look at fastmcp/server/auth/cimd.py."
)


@pytest.fixture(scope="module")
def key() -> jwk.ECKey:
    return jwk.ECKey.generate_key("P-256", {"kid": "1"})


def document(**changes: Any) -> CIMDDocument:
    return CIMDDocument.model_validate(
        {
            "client_id": CLIENT,
            "redirect_uris": ["https://client.example/cb"],
            "token_endpoint_auth_method": "private_key_jwt",
            **changes,
        }
    )


def assertion(key: jwk.ECKey, **changes: Any) -> str:
    now = int(time.time())
    claims = {"iss": CLIENT, "sub": CLIENT, "aud": TOKEN_ENDPOINT, "jti": "once"}
    claims |= {"iat": now, "exp": now + 60, **changes}
    return jwt.encode({"alg": "ES256", "kid": "1"}, claims, key)


def test_a_documents_keys_are_optional_and_inline_or_by_address(key: jwk.ECKey) -> None:
    inline = document(jwks={"keys": [key.as_dict(private=False)]})
    address = document(jwks_uri="https://client.example/keys")

    assert (document().jwks, document().jwks_uri) == (None, None), ASSERTION
    assert inline.jwks == {"keys": [key.as_dict(private=False)]}, ASSERTION
    assert str(address.jwks_uri) == "https://client.example/keys", ASSERTION


def test_a_signed_assertion_holds_once(key: jwk.ECKey) -> None:
    validator, signed = CIMDAssertionValidator(), assertion(key)
    doc = document(jwks={"keys": [key.as_dict(private=False)]})

    with loop() as app:
        first = app.run(validator.validate_assertion(signed, CLIENT, TOKEN_ENDPOINT, doc))
        with refused(ValueError, ASSERTION):
            app.run(validator.validate_assertion(signed, CLIENT, TOKEN_ENDPOINT, doc))

    assert first is True, ASSERTION
    taken = list(inspect.signature(validator.validate_assertion).parameters)
    assert taken == ["assertion", "client_id", "token_endpoint", "cimd_doc"], ASSERTION


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": f"{URL}/elsewhere"},
        {"iss": "https://other.example/x"},
        {"sub": "https://other.example/x"},
        {"exp": int(time.time()) - 300},
        {"exp": int(time.time()) + 3600},
        {"jti": None},
    ],
    ids=["audience", "issuer", "subject", "expired", "too long", "no id"],
)
def test_an_assertion_that_is_not_quite_right_is_refused(
    key: jwk.ECKey, changes: dict[str, Any]
) -> None:
    doc = document(jwks={"keys": [key.as_dict(private=False)]})

    with loop() as app, refused(ValueError, ASSERTION):
        app.run(
            CIMDAssertionValidator().validate_assertion(
                assertion(key, **changes), CLIENT, TOKEN_ENDPOINT, doc
            )
        )


def test_an_assertion_of_another_key_or_of_none_is_refused(key: jwk.ECKey) -> None:
    other = jwk.ECKey.generate_key("P-256", {"kid": "1"})
    doc = document(jwks={"keys": [key.as_dict(private=False)]})

    with loop() as app:
        for text in [assertion(other), "", "x", "a.b.c", assertion(key)[:-5]]:
            with refused(ValueError, ASSERTION):
                app.run(
                    CIMDAssertionValidator().validate_assertion(text, CLIENT, TOKEN_ENDPOINT, doc)
                )


# Neither promises an error of its own for what is hostile: whoever calls them catches Exception.


@pytest.mark.parametrize(
    "changes",
    [{"jti": [1]}, {"jti": {"a": 1}}, {"iat": "x"}, {"iat": [1]}, {"exp": "x"}, {"exp": 1e400}],
    ids=str,
)
def test_claims_of_a_wrong_type_never_pass(key: jwk.ECKey, changes: dict[str, Any]) -> None:
    doc = document(jwks={"keys": [key.as_dict(private=False)]})

    with loop() as app, refused(Exception, ASSERTION):
        app.run(
            CIMDAssertionValidator().validate_assertion(
                assertion(key, **changes), CLIENT, TOKEN_ENDPOINT, doc
            )
        )


@pytest.mark.parametrize(
    "keys", ["x", [1], None, {}, {"a": 1}, [{"kty": ["EC"]}], [{"kty": "oct", "k": "aa"}]], ids=str
)
def test_a_document_without_a_usable_key_proves_nobody(key: jwk.ECKey, keys: object) -> None:
    with loop() as app, refused(Exception, ASSERTION):
        app.run(
            CIMDAssertionValidator().validate_assertion(
                assertion(key), CLIENT, TOKEN_ENDPOINT, document(jwks={"keys": keys})
            )
        )
