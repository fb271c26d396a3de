"""Clients that name themselves by the URL of a metadata document, fetched for real by https."""

from __future__ import annotations

import dataclasses
import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import httpx2
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from joserfc import jwk, jwt

from personal_auth import Limits, outside
from personal_auth.documents import is_document_url
from tests.support.publisher import HOST, Publisher, take_for_public
from tests.support.site import CALLBACK, PASSWORD, URL, App, Clock, Site, Visitor, approve, ticket
from tests.support.tls import certificate

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return certificate(tmp_path_factory.mktemp("tls"), HOST)


@pytest.fixture
def resolved(monkeypatch: pytest.MonkeyPatch, pem: Path) -> list[str]:
    return take_for_public(monkeypatch, pem)


@pytest.fixture
def publisher(pem: Path, resolved: list[str]) -> Iterator[Publisher]:
    publisher = Publisher(pem)
    yield publisher
    publisher.stop()


@pytest.fixture
def site(tmp_path: Path, clock: Clock, publisher: Publisher) -> Iterator[Site]:
    site = Site(tmp_path / "state", clock, limits=Limits(document_port=publisher.port))
    yield site
    site.stop()


def limit(site: Site, **limits: Any) -> None:
    site.restart(limits=dataclasses.replace(site.provider._limits, **limits))


def app_of(site: Site, client_id: str, redirect_uri: str = CALLBACK) -> App:
    return App(site, {"client_id": client_id}, redirect_uri)


def ask(app: App, **changes: str | None) -> httpx.Response:
    return app.site.visitor().get("/authorize", params=app.query(**changes))


def refusal(page: httpx.Response) -> str:
    """Returns a page that is a refusal: no form, and no way back to the client."""
    assert page.status_code in {400, 503}, page.text
    assert "location" not in page.headers
    assert "<form" not in page.text
    return page.text


def test_a_client_with_a_document_connects_and_its_host_is_shown_as_verified(
    site: Site, publisher: Publisher
) -> None:
    app = app_of(site, publisher.publish())

    page = ask(app)
    tokens = app.redeem(approve(app)).json()

    assert "Documented app" in page.text
    assert publisher.origin.removeprefix("https://") in page.text
    assert site.visitor().call(tokens["access_token"]).status_code == 200
    assert app.refresh(tokens["refresh_token"]).status_code == 200


def test_a_connected_client_needs_its_document_no_more(site: Site, publisher: Publisher) -> None:
    app = app_of(site, publisher.publish())
    tokens = app.redeem(approve(app)).json()

    publisher.stop()
    site.restart()
    refreshed = app.refresh(tokens["refresh_token"])
    revoked = site.visitor().post(
        "/revoke", data={"client_id": app.id, "token": tokens["access_token"]}
    )

    assert (refreshed.status_code, revoked.status_code) == (200, 200)
    assert site.visitor().call(refreshed.json()["access_token"]).status_code == 401


@pytest.mark.parametrize(
    ("members", "redirect_uri"),
    [
        ({"scope": None, "grant_types": None, "response_types": None}, CALLBACK),
        (
            {
                "token_endpoint_auth_method": "private_key_jwt",
                "token_endpoint_auth_methods_supported": ["none", "private_key_jwt"],
                "token_endpoint_auth_signing_alg": "RS256",
                "jwks_uri": f"https://{HOST}/jwks.json",
            },
            CALLBACK,
        ),
        (
            {"redirect_uris": ["http://localhost/callback", "http://127.0.0.1/callback"]},
            "http://127.0.0.1:53682/callback",
        ),
        ({"redirect_uris": ["urn:x", "https://foreign.example/", CALLBACK]}, CALLBACK),
        ({"token_endpoint_auth_method": "none", "logo_uri": "https://10.0.0.1/logo.png"}, CALLBACK),
        ({"client_name": None, "token_endpoint_auth_methods_supported": "none"}, CALLBACK),
        ({"client_name": ["not", "text"], "software_id": 7, "contacts": None}, CALLBACK),
    ],
    ids=["bare", "as ChatGPT", "as Claude Code", "a foreign one", "logo", "nameless", "odd name"],
)
def test_documents_as_clients_publish_them_are_understood(
    site: Site, publisher: Publisher, members: dict[str, Any], redirect_uri: str
) -> None:
    app = app_of(site, publisher.publish(**members), redirect_uri)

    answer = app.redeem(approve(app))

    assert answer.status_code == 200, answer.text
    assert publisher.asked == ["/client.json"]  # nothing that the document names is loaded


@pytest.mark.parametrize(
    "members",
    [
        {"client_id": "https://app.example/other.json"},
        {"client_id": None},
        {"client_id": 1},
        {"redirect_uris": None},
        {"redirect_uris": CALLBACK},
        {"redirect_uris": [1]},
        {"token_endpoint_auth_method": "client_secret_post"},
        {
            "token_endpoint_auth_method": "client_secret_basic",
            "token_endpoint_auth_methods_supported": ["none"],
        },
        {"client_secret": "a shared secret"},
        {"token_endpoint_auth_method": "private_key_jwt"},
        {"token_endpoint_auth_method": "tls_client_auth"},
        {"token_endpoint_auth_method": ["none"]},
    ],
    ids=str,
)
def test_a_document_that_describes_no_client_is_refused_and_asked_for_again(
    site: Site, publisher: Publisher, members: dict[str, Any]
) -> None:
    app = app_of(site, publisher.publish(**members))

    pages = [ask(app), ask(app)]

    assert "This app cannot be identified" in refusal(pages[0])
    assert publisher.asked == ["/client.json"] * 2


def test_a_document_that_lists_no_usable_redirect_sends_nobody_anywhere(
    site: Site, publisher: Publisher
) -> None:
    app = app_of(site, publisher.publish(redirect_uris=[]))

    refusal(ask(app))
    refusal(ask(app, redirect_uri=None))


@pytest.mark.parametrize(
    ("body", "http"),
    [
        (b"<html>not JSON</html>", {}),
        (b"[]", {}),
        (b"\xff", {}),
        (b"[" * 5000, {}),
        (b'{"client_id": "' + b"x" * 6000 + b'"}', {}),
        (b"", {"status": 404}),
        (b"", {"status": 302, "headers": {"Location": "/client.json"}}),
        (b"{}", {"seconds": 3.0}),
    ],
    ids=["html", "list", "bytes", "deep", "huge", "404", "redirect", "slow"],
)
def test_what_is_no_document_is_refused_within_bounds(
    site: Site, publisher: Publisher, body: bytes, http: dict[str, Any]
) -> None:
    limit(site, document_fetch_seconds=1.0)
    publisher.publish()
    app = app_of(site, publisher.answer("/odd.json", body, **http))

    before = time.monotonic()
    refusal(ask(app))

    assert time.monotonic() - before < 2.5
    assert publisher.asked == ["/odd.json"]  # a redirect is not followed


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.0.0.1",
        "172.16.5.4",
        "192.168.1.1",
        "169.254.169.254",
        "168.63.129.16",
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "::1",
        "fd00::1",
        "fe80::1",
        "fec0::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::127.0.0.1",
        "2002:7f00:1::",
        "64:ff9b::7f00:1",
        "fe80::1%eth0",
    ],
)
def test_a_document_at_an_address_that_is_not_public_is_never_fetched(
    site: Site, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    def resolve(host: str, port: int) -> list[Any]:
        return [(0, 0, 0, "", (each, port)) for each in ("8.8.8.8", address)]

    monkeypatch.undo()  # the publisher is no exception now
    monkeypatch.setattr(outside, "resolve", resolve)
    with socket.create_server(("127.0.0.1", 0)) as trap:
        trap.settimeout(0.05)
        port = trap.getsockname()[1]
        limit(site, document_port=port)
        page = ask(app_of(site, f"https://inside.example:{port}/client.json"))
        with pytest.raises(TimeoutError):
            trap.accept()

    assert "not public" in refusal(page)


def test_a_document_at_an_odd_port_is_never_fetched(site: Site, publisher: Publisher) -> None:
    app = app_of(site, publisher.publish())
    limit(site, document_port=443)

    assert "must be at port 443" in refusal(ask(app))
    assert publisher.asked == []


def test_slow_name_servers_hold_up_nothing_else(
    site: Site, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit(site, document_fetch_seconds=1.5, documents_at_once=4)
    connected = app_of(site, publisher.publish())
    tokens = connected.redeem(approve(connected)).json()
    over, real = threading.Event(), outside.resolve

    def slow(host: str, port: int) -> list[Any]:
        if host.startswith("tarpit"):
            over.wait(30)
        return real(host, port)

    monkeypatch.setattr(outside, "resolve", slow)
    pits = [f"https://tarpit{n}.{HOST}:{publisher.port}/client.json" for n in range(6)]
    try:
        stuck = in_parallel(*[lambda pit=pit: ask(app_of(site, pit)) for pit in pits[:4]])
        stuck += [ask(app_of(site, pit)) for pit in pits[4:]]
        threads = [each.name for each in threading.enumerate()].count("resolver")
        before = time.monotonic()
        refreshed = connected.refresh(tokens["refresh_token"])
        waited = time.monotonic() - before
        known = ask(connected)
    finally:
        over.set()
        site.stop()
        site.start()

    assert [page.status_code for page in stuck] == [503] * 6
    assert threads == 4  # a name that hangs keeps its place after its asker was told
    assert (refreshed.status_code, known.status_code) == (200, 200)
    assert waited < 2


def test_a_host_of_many_addresses_is_tried_at_few(
    site: Site, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[str] = []

    def resolve(host: str, port: int) -> list[Any]:
        return [(0, 0, 0, "", (f"127.0.0.{n}", port)) for n in range(2, 200)]

    def is_public(address: str) -> bool:
        tried.append(address)
        return True

    monkeypatch.setattr(outside, "resolve", resolve)
    monkeypatch.setattr(outside, "is_public", is_public)
    connections = _connections(monkeypatch)

    refusal(ask(app_of(site, publisher.publish())))

    assert len(tried) == 198  # every one has to be public
    assert len(connections) == 2


def _connections(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    made: list[str] = []
    real = httpx2.AsyncClient.stream

    def stream(self: Any, method: str, url: str, **options: Any) -> Any:
        made.append(url)
        return real(self, method, url, **options)

    monkeypatch.setattr(httpx2.AsyncClient, "stream", stream)
    return made


def test_a_name_is_resolved_once_and_that_address_is_the_one_asked(
    site: Site, publisher: Publisher, resolved: list[str]
) -> None:
    app = app_of(site, publisher.publish())

    approve(app)

    assert resolved == [HOST]  # no second answer of the name server can lead elsewhere


def test_a_document_of_another_hosts_certificate_is_refused(
    site: Site, publisher: Publisher
) -> None:
    publisher.publish()
    unproven = publisher.url().replace(HOST, f"unproven.{HOST}")

    refusal(ask(app_of(site, unproven)))

    assert publisher.asked == []


@pytest.mark.parametrize(
    ("headers", "kept", "dropped"),
    [
        ({"Cache-Control": "max-age=60"}, 59, 61),
        ({"Cache-Control": "public, max-age=60, must-revalidate"}, 59, 61),
        ({"Cache-Control": "max-age=99999999"}, 24 * 3600 - 1, 24 * 3600 + 1),
        ({}, 299, 301),
        ({"Cache-Control": "max-age=soon"}, 299, 301),
        ({"Cache-Control": "no-store"}, None, 0),
        ({"Cache-Control": "No-Cache"}, None, 0),
        ({"Cache-Control": "max-age=0"}, None, 0),
    ],
    ids=str,
)
def test_a_document_is_kept_as_long_as_its_headers_say_within_a_day(
    site: Site,
    clock: Clock,
    publisher: Publisher,
    headers: dict[str, str],
    kept: int | None,
    dropped: int,
) -> None:
    app = app_of(site, publisher.publish(http={"headers": headers}))
    ask(app)
    start = clock.now

    if kept is not None:
        clock.now = start + kept
        ask(app)
        assert len(publisher.asked) == 1
    clock.now = start + dropped
    ask(app)

    assert len(publisher.asked) == 2


def test_the_number_of_documents_that_are_kept_is_bounded(site: Site, publisher: Publisher) -> None:
    limit(site, documents_kept=2)
    apps = [app_of(site, publisher.publish(f"/{number}.json")) for number in range(3)]

    for app in [*apps, apps[2], apps[0]]:
        ask(app)

    assert publisher.asked == ["/0.json", "/1.json", "/2.json", "/0.json"]


def in_parallel(*calls: Any) -> list[httpx.Response]:
    answers: list[httpx.Response] = []
    threads = [threading.Thread(target=lambda c=call: answers.append(c())) for call in calls]
    for thread in threads:
        thread.start()
        time.sleep(0.05)  # in this order
    for thread in threads:
        thread.join()
    return answers


def test_many_who_ask_for_one_document_at_once_share_one_fetch(
    site: Site, publisher: Publisher
) -> None:
    app = app_of(site, publisher.publish(http={"seconds": 0.5}))

    answers = in_parallel(*[lambda: ask(app)] * 5)

    assert [answer.status_code for answer in answers] == [200] * 5
    assert publisher.asked == ["/client.json"]


def test_few_documents_are_fetched_in_a_minute_for_one_address_and_over_all(
    site: Site, clock: Clock, publisher: Publisher
) -> None:
    limit(site, documents_a_minute=3, documents_a_minute_for_one=2)
    site.restart(trusted_proxies=["127.0.0.1"])
    apps = [app_of(site, publisher.publish(f"/{number}.json")) for number in range(5)]

    def status(app: App, address: str) -> int:
        visitor = site.visitor(**{"x-forwarded-for": address})
        return visitor.get("/authorize", params=app.query()).status_code

    one = [status(app, "198.51.100.1") for app in apps[:3]]
    others = [status(apps[3], "198.51.100.2"), status(apps[4], "198.51.100.3")]
    kept = status(apps[0], "198.51.100.1")
    clock.advance(60)

    assert one == [200, 200, 503]
    assert others == [200, 503]
    assert kept == 200
    assert status(apps[4], "198.51.100.3") == 200


def test_few_documents_are_fetched_at_once(site: Site, publisher: Publisher) -> None:
    limit(site, documents_at_once=2)
    apps = [
        app_of(site, publisher.publish(f"/{number}.json", http={"seconds": 0.8}))
        for number in range(3)
    ]

    answers = in_parallel(*[lambda app=app: ask(app) for app in apps])

    assert sorted(answer.status_code for answer in answers) == [200, 200, 503]
    assert all(a.headers["retry-after"] for a in answers if a.status_code == 503)


def test_an_app_that_was_approved_may_ask_while_its_host_is_away(
    site: Site, publisher: Publisher
) -> None:
    no_store = {"headers": {"Cache-Control": "no-store"}}
    app, other = (
        app_of(site, publisher.publish(http=no_store)),
        app_of(site, publisher.publish("/other.json", http=no_store)),
    )
    approve(app)

    publisher.stop()

    assert ask(app).status_code == 200
    assert ask(other).status_code == 503
    refusal(ask(app, redirect_uri="https://claude.ai/elsewhere"))


def test_a_changed_redirect_list_is_shown_and_asks_for_consent_again(
    site: Site, owner: Visitor, publisher: Publisher
) -> None:
    app = app_of(site, publisher.publish(http={"headers": {"Cache-Control": "no-store"}}))
    approve(app, owner)
    before = owner.get("/authorize", params=app.query())

    publisher.publish(
        redirect_uris=["https://claude.com/new"], http={"headers": {"Cache-Control": "no-store"}}
    )
    old = ask(app)
    page = owner.get("/authorize", params=app.query(redirect_uri="https://claude.com/new"))

    assert "has changed" not in before.text
    assert "not one that this client registered" in refusal(old)
    assert page.status_code == 200
    assert "has changed" in page.text
    answer = owner.submit(ticket=ticket(page), decision="approve")
    assert answer.headers["location"].startswith("https://claude.com/new?")
    assert (
        "has changed"
        not in owner.get("/authorize", params=app.query(redirect_uri="https://claude.com/new")).text
    )


def test_a_redirect_that_left_the_document_while_the_page_was_open_gets_no_code(
    site: Site, owner: Visitor, publisher: Publisher
) -> None:
    no_store = {"headers": {"Cache-Control": "no-store"}}
    app = app_of(site, publisher.publish(http=no_store))
    page = owner.get("/authorize", params=app.query())

    publisher.publish(redirect_uris=["https://claude.com/new"], http=no_store)

    refusal(owner.submit(ticket=ticket(page), password=PASSWORD, decision="approve"))


@pytest.mark.parametrize(
    "client_id",
    [
        "https://app.example",
        "https://app.example/",
        "https://app.example/?client",
        "https://app.example?/client.json",
        "https://localhost/client.json",
        "http://app.example/client.json",
        "https://user@app.example/client.json",
        "https://app.example/client.json#x",
        "https://app.example/../client.json",
        "https://APP.example/client.json",
        "https://app.example\\@evil.example/client.json",
        "ftp://app.example/client.json",
        "//app.example/client.json",
    ],
)
def test_a_url_that_may_not_name_a_client_is_not_fetched(
    site: Site, resolved: list[str], client_id: str
) -> None:
    page = ask(app_of(site, client_id))

    refusal(page)
    assert not is_document_url(client_id)
    assert resolved == []


def test_a_url_that_is_too_long_is_not_fetched(site: Site, resolved: list[str]) -> None:
    refusal(ask(app_of(site, f"https://{HOST}/{'x' * 1100}")))

    assert resolved == []


def test_the_token_endpoint_never_fetches_for_a_client_that_nobody_approved(
    site: Site, publisher: Publisher
) -> None:
    app = app_of(site, publisher.publish())

    answers = [app.redeem("pac_x"), app.refresh("prt_x")]

    assert [a.status_code for a in answers] == [401, 401]
    assert publisher.asked == []


def test_documents_can_be_turned_off(site: Site, publisher: Publisher) -> None:
    limit(site, document_bytes=0)
    app = app_of(site, publisher.publish())

    metadata = site.visitor().get("/.well-known/oauth-authorization-server").json()

    assert metadata["client_id_metadata_document_supported"] is False
    refusal(ask(app))
    assert publisher.asked == []


# private_key_jwt (RFC 7523)


@pytest.fixture(scope="module")
def key() -> Any:
    return jwk.import_key(rsa.generate_private_key(65537, 2048), "RSA", {"kid": "k1"})


def signed(key: Any, client_id: str, **changes: Any) -> str:
    now = int(time.time())
    claims = {
        "iss": client_id,
        "sub": client_id,
        "aud": f"{URL}/token",
        "iat": now,
        "exp": now + changes.pop("seconds", 60),
        "jti": changes.pop("jti", f"once-{time.monotonic_ns()}"),
        **changes,
    }
    header = {"alg": "RS256", "kid": "k1"}
    return jwt.encode(header, {k: v for k, v in claims.items() if v is not None}, key)


def keyed(publisher: Publisher, key: Any, **members: Any) -> str:
    public = {"keys": [key.as_dict(private=False)]}
    method = "private_key_jwt"
    return publisher.publish(**{"token_endpoint_auth_method": method, "jwks": public, **members})


def by_key(app: App, code: str, assertion: str | None, **form: str | None) -> httpx.Response:
    kind = ASSERTION_TYPE if assertion else None
    return app.redeem(code, client_assertion=assertion, client_assertion_type=kind, **form)


@pytest.mark.parametrize("audience", [f"{URL}/token", URL, [URL, "https://other.example"]])
def test_a_client_that_wants_nothing_else_proves_itself_by_its_key(
    site: Site, publisher: Publisher, key: Any, audience: Any
) -> None:
    app = app_of(site, keyed(publisher, key))

    code = approve(app)
    answer = by_key(app, code, signed(key, app.id, aud=audience), client_id=None)

    assert answer.status_code == 200, answer.text
    again = app.refresh(
        answer.json()["refresh_token"],
        client_assertion=signed(key, app.id),
        client_assertion_type=ASSERTION_TYPE,
    )
    assert again.status_code == 200


def test_the_keys_may_be_published_beside_the_document(
    site: Site, publisher: Publisher, key: Any
) -> None:
    public = json.dumps({"keys": [key.as_dict(private=False)]}).encode()
    uri = publisher.answer("/jwks.json", public)
    app = app_of(site, keyed(publisher, key, jwks=None, jwks_uri=uri))

    assert by_key(app, approve(app), signed(key, app.id)).status_code == 200
    assert "/jwks.json" in publisher.asked


def test_keys_at_an_address_that_is_not_public_prove_nothing(
    site: Site, publisher: Publisher, key: Any
) -> None:
    app = app_of(site, keyed(publisher, key, jwks=None, jwks_uri="https://10.0.0.1/jwks.json"))

    answer = by_key(app, approve(app), signed(key, app.id))

    assert (answer.status_code, answer.json()["error"]) == (503, "temporarily_unavailable")


@pytest.mark.parametrize(
    "outage",
    [
        {"body": b"<html>under maintenance</html>"},
        {"body": b"", "status": 503},
        {"body": b"[]"},
    ],
    ids=str,
)
@pytest.mark.parametrize("place", ["/client.json", "/jwks.json"])
def test_an_outage_of_the_keys_host_is_no_reason_to_register_anew(
    site: Site, clock: Clock, publisher: Publisher, key: Any, place: str, outage: dict[str, Any]
) -> None:
    public = json.dumps({"keys": [key.as_dict(private=False)]}).encode()
    uri = publisher.answer("/jwks.json", public)
    app = app_of(site, keyed(publisher, key, jwks=None, jwks_uri=uri))
    code = approve(app)
    clock.advance(1)  # the code lives, the documents are asked for anew

    publisher.answer(place, **outage)
    site.restart()
    away = by_key(app, code, signed(key, app.id))
    keyed(publisher, key, jwks=None, jwks_uri=publisher.answer("/jwks.json", public))
    back = by_key(app, code, signed(key, app.id))

    assert (away.status_code, away.json()["error"]) == (503, "temporarily_unavailable")
    assert away.headers["retry-after"]
    assert back.status_code == 200


def test_odd_redirects_in_a_document_do_not_keep_a_client_from_proving_itself(
    site: Site, publisher: Publisher, key: Any
) -> None:
    odd = ["com.example.app:/callback", "", "\ud800", CALLBACK]
    app = app_of(site, keyed(publisher, key, redirect_uris=[*odd[:2], CALLBACK]))

    assert by_key(app, approve(app), signed(key, app.id)).status_code == 200
    refusal(ask(app_of(site, keyed(publisher, key, path="/odd.json", redirect_uris=odd))))


@pytest.mark.parametrize(
    "change",
    [
        {"aud": "https://other.example/token"},
        {"aud": None},
        {"iss": "https://other.example/client.json"},
        {"sub": "https://other.example/client.json"},
        {"sub": None},
        {"jti": None},
        {"exp": 1},
        {"exp": None},
        {"seconds": 4000},
        {"exp": "soon"},
    ],
    ids=str,
)
def test_an_assertion_with_something_wrong_proves_nothing(
    site: Site, publisher: Publisher, key: Any, change: dict[str, Any]
) -> None:
    app = app_of(site, keyed(publisher, key))
    code = approve(app)

    answer = by_key(app, code, signed(key, app.id, **change))

    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
    assert by_key(app, code, signed(key, app.id)).status_code == 200  # nothing is lost by it


def test_an_assertion_of_another_key_or_none_or_used_before_proves_nothing(
    site: Site, publisher: Publisher, key: Any
) -> None:
    app = app_of(site, keyed(publisher, key))
    foreign = jwk.import_key(rsa.generate_private_key(65537, 2048), "RSA", {"kid": "k1"})
    code, once = approve(app), signed(key, app.id, jti="once")
    unsigned = "eyJhbGciOiJub25lIn0." + once.split(".")[1] + "."

    refused = [
        by_key(app, code, assertion)
        for assertion in (signed(foreign, app.id), None, unsigned, "x", "a.b.c")
    ]
    refused.append(app.redeem(code, client_assertion=once, client_assertion_type="something"))
    accepted = by_key(app, code, once)
    replayed = by_key(app, "pac_other", once)

    assert {a.status_code for a in [*refused, replayed]} == {401}
    assert accepted.status_code == 200


def test_a_key_of_the_wrong_kind_in_the_document_proves_nothing(
    site: Site, publisher: Publisher, key: Any
) -> None:
    curve = jwk.import_key(ec.generate_private_key(ec.SECP256R1()), "EC", {"kid": "k1"})
    app = app_of(site, keyed(publisher, curve))

    answer = by_key(app, approve(app), signed(key, app.id))

    assert answer.status_code == 401
