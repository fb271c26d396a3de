"""Bad bytes at every endpoint: never a 5xx, never a traceback, nothing given away or left behind.

The same requests are drawn at every run; `FUZZ=20 pytest tests/auth/test_fuzz.py` draws twenty
times as many, others each time.
"""

from __future__ import annotations

import base64
import gc
import json
import random
import re
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import strategies as st
from key_value.aio.stores.postgresql import PostgreSQLStore
from key_value.aio.stores.redis import RedisStore

from tests.support.asgi import HOST, AppServer, Header, http_scope
from tests.support.hostile import (
    ELSEWHERE,
    HEADERS,
    METADATA,
    METHODS,
    PAGES,
    PATHS,
    broken,
    changed,
    check,
    forms,
    fuzz,
    header_lists,
    json_bodies,
    json_values,
    listening,
    texts,
)
from tests.support.household import furnish
from tests.support.ownerpage import DEEDS, LOCAL, desk
from tests.support.programs import postgres, redis
from tests.support.site import CALLBACK, PASSWORD, URL, App, Visitor, connect, ticket

FORM = (b"content-type", b"application/x-www-form-urlencoded")
JSON = (b"content-type", b"application/json")
OWN_PAGE = (b"origin", URL.encode())
CALL = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "ping"}}


@dataclass
class Target:
    """A server with one connected client, and what nobody else may learn."""

    server: AppServer
    app: App
    access: str
    refresh: str

    @property
    def secrets(self) -> list[str]:
        return [self.access, self.refresh, PASSWORD, self.app.registration["client_secret"]]

    def stored(self) -> dict[str, Any]:
        """What is on disk, but for the bounded table of registrations that nobody approved."""
        store: Any = self.server.provider.service.records.store
        self.server.run(store.flush())
        rows: dict[str, Any] = json.loads(store.dump())["rows"]
        on_disk = json.loads((self.server.state_dir / "oauth_tokens.json").read_text())["rows"]
        assert on_disk == rows
        rows.pop("waiting_clients", None)
        return rows


@pytest.fixture(scope="module")
def connected(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    server = AppServer(tmp_path_factory.mktemp("fuzz") / "state")
    app, tokens = connect(server, token_endpoint_auth_method="client_secret_post")
    yield Target(server, app, tokens["access_token"], tokens["refresh_token"])
    server.stop()


@pytest.fixture
def target(connected: Target) -> Iterator[Target]:
    """The server; afterwards it works as before, and nothing was stored, said or broken."""
    before = connected.stored()
    with listening() as log:
        yield connected
    log.check()
    assert log.of("wrong_password") < 30, "strangers fill the log"
    assert not [s for s in connected.secrets if s in "\n".join(log.lines)]
    assert connected.stored() == before
    assert connected.server.visitor().call(connected.access).status_code == 200


def somebody(server: AppServer) -> App:
    """Returns a client that the owner never approved."""
    return App.register(server)


def test_every_method_at_every_path_is_answered_in_its_form(target: Target) -> None:
    host = [(b"host", HOST)]

    for path in [*PATHS, *ELSEWHERE]:
        for method in METHODS:
            for slash in ["", "/", "//"]:
                answer = target.server.ask(http_scope(method, path + slash, host))
                check(answer, path, target.secrets)


def test_any_headers_at_any_path_are_answered(target: Target) -> None:
    def attack(method: str, path: str, query: str, headers: list[Header], body: bytes) -> None:
        answer = target.server.ask(http_scope(method, f"{path}?{query}", headers), [body])

        check(answer, path, target.secrets)

    carried = [f"Bearer {target.refresh}", f"Basic {PASSWORD}", *target.secrets[1:]]
    paths = st.sampled_from(PATHS) | st.sampled_from(ELSEWHERE)
    headers = header_lists(secrets=carried)
    bodies = st.just(b"") | st.binary(max_size=200) | st.just(b"x" * 20_000)
    fuzz(attack, st.sampled_from(METHODS), paths, texts(carried), headers, bodies, examples=1000)


def test_any_registration_is_answered(target: Target) -> None:
    base = {
        "client_name": "An app",
        "redirect_uris": [CALLBACK],
        "token_endpoint_auth_method": "none",
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "scope": "tools",
        "client_uri": "https://claude.ai",
        "logo_uri": "https://claude.ai/logo.png",
        "contacts": ["a@example.com"],
        "jwks": {"keys": []},
        "software_statement": "x",
    }

    def attack(headers: list[Header], body: bytes) -> None:
        answer = target.server.ask(http_scope("POST", "/register", headers), [body])

        check(answer, "/register", target.secrets, echoed=answer.status == 201)

    members = changed(base, json_values(), 3).map(dict)
    uris = st.lists(st.sampled_from([CALLBACK, "http://[::1]:1/cb"]) | texts(), max_size=12)
    named = st.tuples(members, uris, texts()).map(
        lambda drawn: json.dumps({**drawn[0], "redirect_uris": drawn[1], "client_name": drawn[2]})
    )
    fuzz(attack, header_lists(JSON), json_bodies(base), examples=700)
    fuzz(attack, header_lists(JSON), broken(named.map(str.encode)), examples=300)


def test_whatever_was_registered_can_be_shown(target: Target) -> None:
    def attack(name: str, path: str, state: str) -> None:
        uri = f"http://localhost:1/cb?{path}"
        app = App.register(target.server, uri, client_name=name)
        query = app.query(redirect_uri=uri, state=state)
        scope = http_scope("GET", "/authorize", [(b"host", HOST), (b"accept", b"application/json")])

        page = target.server.visitor().get("/authorize", params=query)
        bare = target.server.ask(scope | {"query_string": page.request.url.query})

        assert page.status_code == bare.status
        check(bare, "/authorize", [PASSWORD])
        assert (page.status_code, bare.kind) in {(200, "text/html"), (400, "text/html")}

    names = texts().map(lambda text: text.encode("utf-8", "replace").decode())
    words = st.sampled_from([*"aZ0-._~:/?[]@!$&()*+,;=", "%20", "%27", "%00", "%3C", "%ff"])
    paths = st.lists(words, max_size=80).map("".join)
    fuzz(attack, names, paths, names.map(lambda text: text[:900]), examples=250)


@pytest.mark.parametrize("path", ["/token", "/revoke"])
def test_any_form_at_the_token_endpoints_is_answered(target: Target, path: str) -> None:
    app = somebody(target.server)
    common = {"client_id": app.id, "resource": f"{URL}/mcp", "scope": "tools"}
    code = {"grant_type": "authorization_code", "code": "pac_" + "A" * 43}
    code |= {"redirect_uri": CALLBACK, "code_verifier": app.verifier}
    refresh = {"grant_type": "refresh_token", "refresh_token": target.refresh}
    bases = [common | code, common | refresh, common | {"token": target.access}]
    basic = base64.b64encode(f"{app.id}:x".encode())

    def attack(headers: list[Header], body: bytes, cuts: list[int]) -> None:
        chunks = [body[: cuts[0]], body[cuts[0] : cuts[1]], body[cuts[1] :]]
        answer = target.server.ask(http_scope("POST", path, headers), chunks)

        check(answer, path, target.secrets)
        assert path == "/revoke" or answer.status >= 400
        assert answer.status == 421 or answer.header("access-control-allow-origin") == "*"

    bodies = st.one_of(*(forms(base, target.secrets) for base in bases))
    headers = header_lists(FORM) | header_lists(FORM, (b"authorization", b"Basic " + basic))
    cuts = st.tuples(st.integers(0, 300), st.integers(0, 300)).map(sorted)
    fuzz(attack, headers, bodies, cuts, examples=700)


def test_any_authorization_request_is_answered_by_a_page(target: Target) -> None:
    app = somebody(target.server)

    def attack(method: str, headers: list[Header], query: bytes) -> None:
        target_of = f"/authorize?{query.decode('utf-8', 'surrogateescape')}"
        answer = target.server.ask(http_scope(method, target_of, headers))

        check(answer, "/authorize", target.secrets)
        assert answer.status in {200, 400, 414, 421}
        assert answer.kind == "text/html" or answer.status in {414, 421}
        assert not answer.header("location")

    queries = forms(app.query(), target.secrets)
    methods = st.sampled_from(["GET", "HEAD"])
    fuzz(attack, methods, header_lists((b"accept", b"application/json")), queries, examples=700)


def test_any_decision_of_a_stranger_is_answered_by_a_page(target: Target) -> None:
    visitor = target.server.visitor()
    page = visitor.get("/authorize", params=somebody(target.server).query())
    cookie = (b"cookie", "; ".join(f"{k}={v}" for k, v in visitor.cookies.items()).encode())
    form = {"ticket": ticket(page), "decision": "approve", "password": "a guess"}

    def attack(headers: list[Header], body: bytes) -> None:
        answer = target.server.ask(http_scope("POST", "/authorize", headers), [body])

        check(answer, "/authorize", target.secrets)
        assert answer.status in {303, 400, 403, 413, 421, 429}
        assert answer.kind == "text/html" or answer.status in {303, 421}
        assert "code=" not in answer.header("location")

    bodies = forms(form, [s for s in target.secrets if s != PASSWORD])
    fuzz(attack, header_lists(FORM, OWN_PAGE, cookie), bodies, examples=700)


@pytest.mark.parametrize("url", [URL, LOCAL], ids=["public", "local"])
def test_any_form_of_the_owner_is_answered_by_a_page(tmp_path: Path, url: str) -> None:
    server = AppServer(tmp_path / "state", base_url=url)
    furnish(server)
    sessions = server.provider.service.owner.sessions
    ids = re.findall(r'name="id" value="([^"]+)"', desk(server).sign_in().text)
    held = [""]
    assert len(ids) > 10

    def attack(do: str, headers: list[Header], body: bytes) -> None:
        if not server.run(sessions.holds(held[0])):
            held[0] = server.run(sessions.open())
        cookie = (b"cookie", f"__Host-pa_session={held[0]}".encode())
        given = [*headers, FORM, (b"origin", url.encode()), cookie]
        if url == LOCAL:
            given = [(b"host", b"localhost:8050"), *given[1:]]
        whole = f"do={do}&session={held[0]}&".encode() + body
        answer = server.ask(http_scope("POST", "/owner", given), [whole])

        check(answer, "/owner", [PASSWORD])
        assert answer.status in {200, 303, 400, 403, 413, 421, 429}

    values = [*ids, "another password", PASSWORD]
    base = {"id": ids[0], "name": "x", "new-password": values[-2], "again": values[-2]}
    fuzz(attack, st.sampled_from(DEEDS), header_lists(), forms(base, values), examples=500)
    server.stop()


def test_any_request_without_a_token_is_refused_at_the_endpoint(target: Target) -> None:
    def attack(method: str, slash: str, headers: list[Header], body: bytes) -> None:
        answer = target.server.ask(http_scope(method, f"/mcp{slash}", headers), [body])

        check(answer, "/mcp", target.secrets)
        assert answer.status in {204, 401, 403, 421}
        assert answer.status != 401 or answer.header("www-authenticate").startswith("Bearer ")

    tokens = (target.refresh, target.app.id, PASSWORD, target.access[:-1], target.access + "x")
    made_up = header_lists(JSON, secrets=[f"Bearer {token}" for token in tokens])
    slashes = st.sampled_from(["", "/", "//"])
    fuzz(attack, st.sampled_from(METHODS), slashes, made_up, json_bodies(CALL), examples=700)


def test_any_message_of_a_connected_client_is_answered(target: Target) -> None:
    bearer = (b"authorization", f"Bearer {target.access}".encode())

    def attack(headers: list[Header], body: bytes) -> None:
        answer = target.server.ask(http_scope("POST", "/mcp", headers), [body])

        assert 200 <= answer.status < 500, answer
        assert b"Traceback" not in answer.body
        assert target.access.encode() not in answer.everything

    messages = json_bodies(CALL) | json_bodies({**CALL, "method": "initialize"})
    fuzz(attack, header_lists(JSON, (b"accept", b"*/*"), bearer), messages, examples=300)


@pytest.mark.parametrize("path", [*PATHS, "/nothing"])
def test_whatever_scope_a_server_may_pass_is_answered(target: Target, path: str) -> None:
    host: list[Header] = [(b"host", HOST)]
    changes: list[dict[str, Any]] = [
        {"raw_path": None},
        {"raw_path": ...},
        {"raw_path": None, "path": f"{path}/"},
        {"client": None},
        {"client": ...},
        {"client": ("unix:/run/x", None)},
        {"server": None},
        {"server": ...},
        {"root_path": ...},
        {"state": ...},
        {"scheme": ...},
        {"http_version": "1.0"},
        {"http_version": "2"},
        {"headers": []},
        {"headers": [*host, *host]},
        {"headers": [*host, (b"host", b"evil.example")]},
        {"headers": ((name, value) for name, value in host)},
        {"headers": [*host, *((name, value) for name, vs in HEADERS.items() for value in vs)]},
        {"query_string": b"\xff\x00\r\n"},
        {"query_string": b"&".join([b"a"] * 3000)},
        {"path": path + "\ud800"},
        {"extensions": {"http.response.push": {}}},
    ]

    for method in ["GET", "POST", "OPTIONS"]:
        for change in changes:
            scope = http_scope(method, path, host) | change
            scope = {key: value for key, value in scope.items() if value is not ...}
            answer = target.server.ask(scope, [b"\xff", b"", b"{"])
            check(answer, path, target.secrets)
    twice = http_scope("GET", path, [*host, (b"host", b"evil.example")])
    assert target.server.ask(twice).status == 421


@pytest.mark.parametrize("path", ["/register", "/token", "/revoke", *PAGES])
def test_a_body_that_breaks_off_is_no_error_of_the_server(target: Target, path: str) -> None:
    headers = [(b"host", HOST), FORM, OWN_PAGE]

    for chunks in [[b""], [b"grant_type="], [b"{", b"}"], [b"x" * 20_000]]:
        answer = target.server.ask(http_scope("POST", path, headers), chunks, cut=True)
        check(answer, path, target.secrets)


def test_other_kinds_of_connections_are_closed(target: Target) -> None:
    for path in [*PATHS, "/nothing"]:
        scope = http_scope("GET", path, [(b"host", HOST)])
        scope |= {"type": "websocket", "subprotocols": []}
        said = []

        async def receive() -> Any:
            return {"type": "websocket.connect"}

        async def send(message: Any) -> None:
            said.append(message["type"])  # noqa: B023

        target.server.run(target.server.app(scope, receive, send))

        assert said == ["websocket.close"]


@pytest.mark.parametrize("path", [*METADATA, "/register", "/token", "/revoke", *PAGES])
def test_a_method_that_is_not_served_is_named_in_json(target: Target, path: str) -> None:
    allowed = "GET, HEAD, POST" if path in PAGES else "POST"
    allowed = "GET, HEAD" if path in METADATA else allowed

    answer = target.server.visitor(origin="https://somewhere.example").request("PUT", path)

    assert (answer.status_code, answer.headers["allow"]) == (405, allowed)
    assert answer.json()["error"] == "method_not_allowed"
    assert answer.headers.get("access-control-allow-origin") == (None if path in PAGES else "*")


def test_a_connected_client_is_told_in_json_that_there_is_no_stream(target: Target) -> None:
    headers = {"authorization": f"Bearer {target.access}", "accept": "text/event-stream"}

    for method, allowed in [("GET", "DELETE, POST"), ("PUT", "DELETE, POST"), ("DELETE", "POST")]:
        answer = target.server.visitor().request(method, "/mcp", headers=headers)
        assert (answer.status_code, answer.headers["allow"]) == (405, allowed)
        assert "error" in answer.json()


@pytest.mark.parametrize("path", ["/", "/nothing", "/.well-known", "/.well-known/", "/mcp/sse"])
def test_an_unknown_path_is_json_404_and_never_a_redirect(target: Target, path: str) -> None:
    for method in ["GET", "POST", "DELETE"]:
        answer = target.server.visitor().request(method, path)

        assert (answer.status_code, answer.json()["error"]) == (404, "not_found")


@pytest.mark.filterwarnings("ignore:A configured store is unstable")
@pytest.mark.parametrize("start", [postgres, redis], ids=["postgresql", "redis"])
def test_no_text_of_a_stranger_breaks_a_store(
    tmp_path: Path, start: Callable[[], AbstractContextManager[str]]
) -> None:
    names = ["\x00", "c1-\x00-x", "c1--", "c1-0-\x00", "🙈", "A" * 2000, "c1-" + "9" * 2000 + "-x"]
    uris = [[CALLBACK, "\x00" + "a" * 900], [CALLBACK, "🙈" * 900], [CALLBACK, '\\"' * 400]]
    headers = [(b"host", HOST)]

    with start() as url, listening() as log:
        store: Any = {postgres: PostgreSQLStore, redis: RedisStore}[start](url=url)
        server = AppServer(tmp_path / "state", client_storage=store)
        found = []
        for name in names:
            form = urlencode({"client_id": name, "token": name, "redirect_uri": name}).encode()
            for path in ["/token", "/revoke"]:
                asked = http_scope("POST", path, [*headers, FORM])
                found.append(server.ask(asked, [form + b"&grant_type=refresh_token"]))
            found.append(
                server.ask(http_scope("GET", f"/authorize?{form.decode()}"[:8000], headers))
            )
        for redirect_uris in uris:
            body = json.dumps({"redirect_uris": redirect_uris}, ensure_ascii=False).encode()
            found.append(server.ask(http_scope("POST", "/register", [*headers, JSON]), [body]))
        server.stop(store.close())

    assert {answer.status for answer in found} == {201, 400, 401}
    log.check()
    assert not [line for line in log.lines if "[state_not_available]" in line]


def test_memory_stays_bounded_however_many_come(target: Target) -> None:
    dice = random.Random(1)
    ask = visits(target, dice)
    for _ in range(40):
        ask()

    gc.collect()
    tracemalloc.start()
    try:
        for _ in range(100):
            ask()
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(350):
            ask()
        gc.collect()
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()

    assert grown < 200_000, f"{grown} bytes stayed after 2,100 requests"


def visits(target: Target, dice: random.Random) -> Any:
    """Returns a function that sends six requests, all of them never seen before."""
    app, visitor = somebody(target.server), target.server.visitor()

    def ask() -> None:
        word = dice.randbytes(12).hex()
        stranger: Visitor = target.server.visitor(**{"x-forwarded-for": f"{word}", word: word})
        answers = [
            stranger.post("/register", json={"client_name": word, "redirect_uris": [CALLBACK]}),
            stranger.get(f"/{word}", params={word: word}),
            stranger.get("/authorize", params=app.query(state=word, client_id=f"c1.{word}")),
            stranger.get("/authorize", params=app.query(state=word)),
            app.redeem(f"pac_{word}"),
            visitor.call(f"pat_{word}"),
        ]
        assert [answer.status_code for answer in answers] == [201, 404, 400, 200, 400, 401]

    return ask
