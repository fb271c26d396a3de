"""verify.py --browser: the owner signs in in a browser, which comes back to this computer."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
from fastmcp import FastMCP
from fastmcp.server.auth.auth import ClientRegistrationOptions, RevocationOptions
from fastmcp.server.auth.providers.in_memory import InMemoryOAuthProvider

from personal_verify import browser
from personal_verify.browser import Listener, listening
from personal_verify.checks import every_check
from tests.generate.project import ROOT
from tests.support import approve
from tests.support.process import Running
from tests.support.programs import free_port, need
from tests.support.serving import Serving
from tests.verify.faults.making import Changing, approving, with_location
from tests.verify.house import PASSWORD, House, Report, without_settings

Verify = Callable[..., Report]

ADDRESS = re.compile(r"^http://localhost:[0-9]+/authorize\?\S+$", re.MULTILINE)
NOT_TWICE = [
    "owner.wrong_password",
    "owner.page",
    "owner.page_token",
    "owner.page_forgery",
    "owner.page_end",
    "owner.verifier",
    "owner.bound",
    "owner.resource",
    "grant.revoke_access",
]


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """A computer on which no browser opens."""
    monkeypatch.setenv("BROWSER", "/nowhere/no-browser")


@pytest.fixture
def person(monkeypatch: pytest.MonkeyPatch, nobody: None) -> Iterator[list[Callable[[str], Any]]]:
    """Somebody who does with the printed address what the test says, one thing after another."""
    acts: list[Callable[[str], Any]] = []
    waiting: list[threading.Thread] = []

    def send_to(visit: Any, address: str) -> None:
        def act() -> None:
            for one in acts:
                one(address)

        waiting.append(threading.Thread(target=act))
        waiting[-1].start()

    monkeypatch.setattr("personal_verify.approval.send_to", send_to)
    yield acts
    for thread in waiting:
        thread.join(20)


def approves(address: str) -> str:
    return approve.follow(approve.approve(address, PASSWORD))


def denies(address: str) -> str:
    return approve.follow(approve.approve(address, PASSWORD, "deny"))


def callback_in(address: str) -> tuple[str, str]:
    """Returns the callback and the state that an authorization address names."""
    query = parse_qs(urlsplit(address).query)
    return query["redirect_uri"][0], query["state"][0]


# ---- A browser that opens ------------------------------------------------------------------------


def test_who_signs_in_in_a_browser_sees_everything_but_what_asks_twice(
    house: House, verify: Verify, tmp_path: Path
) -> None:
    before = house.connections
    script = approve.browser(tmp_path, PASSWORD)

    report = verify(house.url, "--json", "--browser", BROWSER=script)

    assert report.code == 0, report.out
    assert report.with_status("skip") == NOT_TWICE
    assert report.with_status("pass") == [
        check.id for check in every_check() if not check.option and check.id not in NOT_TWICE
    ]
    assert report.checks["owner.sign_in"]["detail"] == "in your browser"
    assert report.checks["owner.see_other"]["detail"] == "by GET"
    assert (tmp_path / "browser.log").read_text() == "200 at /callback\n"
    assert house.connections <= before


def test_the_address_is_printed_on_one_line_and_json_stays_pure(
    house: House, verify: Verify, tmp_path: Path
) -> None:
    script = tmp_path / "talks.sh"
    silent = approve.browser(tmp_path, PASSWORD)
    script.write_text(f'#!/bin/sh\necho "Opening in existing session."\nexec {silent} "$1"\n')
    script.chmod(0o755)

    report = verify(house.url, "--json", "--browser", "--only", "owner.token", BROWSER=str(script))

    assert report.with_status("pass") == ["owner.token"]
    told, address = report.err.splitlines()
    assert told == "Your browser opens now; if it does not, open this address on this computer:"
    assert ADDRESS.match(address)
    assert PASSWORD not in report.out + report.err


CHROMIUM = """\
import sys
from tests.support.programs import chromium

with chromium() as browser:
    page = browser.new_page()
    page.goto(sys.argv[1])
    page.fill("input[type=password]", {password!r})
    page.click("button[value=approve]")
    page.wait_for_url("http://127.0.0.1:*/callback?*")
    with open({log!r}, "w") as log:
        print(page.inner_text("body"), file=log)
"""


def test_a_real_browser_shows_at_the_end_that_it_can_be_closed(
    house: House, verify: Verify, tmp_path: Path
) -> None:
    need("chromium")
    log, program, script = tmp_path / "log", tmp_path / "program.py", tmp_path / "browser.sh"
    program.write_text(CHROMIUM.format(password=PASSWORD, log=str(log)))
    script.write_text(f'#!/bin/sh\nPYTHONPATH="{ROOT}" exec "{sys.executable}" "{program}" "$1"\n')
    script.chmod(0o755)

    report = verify(house.url, "--json", "--browser", "--only", "owner.token", BROWSER=str(script))

    assert report.with_status("pass") == ["owner.token"], report.out
    deadline = time.monotonic() + 10
    while not (log.exists() and log.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert log.read_text() == "You can close this window.\n"


# ---- A person who decides otherwise, or not at all -----------------------------------------------


def test_a_password_in_the_environment_is_not_used(
    house: House, verify_here: Verify, person: list[Callable[[str], Any]]
) -> None:
    person.append(approves)

    report = verify_here(
        house.url, "--json", "--browser", "--only", "owner.token", MCP_PASSWORD="not the password"
    )

    assert report.with_status("pass") == ["owner.token"]


def test_deny_in_the_browser_is_no_fault_and_leaves_nothing(
    house: House, verify_here: Verify, person: list[Callable[[str], Any]]
) -> None:
    before = house.connections
    person.append(denies)

    report = verify_here(house.url, "--json", "--browser")

    assert report.code == 0
    assert report.checks["owner.sign_in"]["status"] == "skip"
    reasons = {report.checks[name]["detail"] for name in ("owner.sign_in", "protocol.tools")}
    assert reasons == {"it was denied in the browser"}
    assert house.connections == before


def test_who_does_not_decide_is_waited_for_only_so_long(
    house: House, verify_here: Verify, person: list[Callable[[str], Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    addresses: list[str] = []
    person.append(addresses.append)
    monkeypatch.setattr(browser, "WAIT_SECONDS", 0.3)

    report = verify_here(house.url, "--json", "--browser", "--only", "owner.token")

    failure = report.checks["owner.sign_in"]
    assert report.with_status("fail") == ["owner.sign_in"]
    assert failure["detail"].startswith("Nobody approved in the browser within ")
    assert "--password-file" in failure["cure"]
    assert is_closed(callback_in(addresses[0])[0])


def test_the_wait_says_for_what_how_long_and_how_to_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []

    class Saying:
        say = staticmethod(said.append)

    monkeypatch.setattr(browser, "WAIT_SECONDS", 0.7)
    with listening() as listener, pytest.raises(browser.Failed):
        browser.wait_for(Saying(), listener)  # type: ignore[arg-type]

    assert set(said) == {"Waiting until you approve in your browser, 0:00 left (Ctrl+C stops)"}


def test_ctrl_c_while_it_waits_is_one_sentence_and_leaves_nothing(house: House) -> None:
    before = house.connections
    process = subprocess.Popen(
        [sys.executable, "verify.py", house.url, "--json", "--browser", "--only", "owner.token"],
        cwd=house.project,
        env=without_settings(BROWSER="/nowhere/no-browser"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    address = [process.stderr.readline() for _ in range(2)][1]

    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)

    assert ADDRESS.match(address)
    assert (process.returncode, out) == (130, "")
    assert err.splitlines()[-1] == "verify.py: interrupted; what was granted is revoked."
    assert is_closed(callback_in(address)[0])
    assert house.connections == before


def is_closed(callback: str) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", urlsplit(callback).port or 0)) != 0


# ---- What must not be believed -------------------------------------------------------------------


def test_an_answer_with_another_state_is_not_used_and_ends_nothing(
    house: House, verify_here: Verify, person: list[Callable[[str], Any]]
) -> None:
    seen: list[int] = []

    def forges(address: str) -> None:
        callback, _ = callback_in(address)
        forged = {"code": "pac_forged", "state": "another"}
        seen.append(httpx2.get(callback, params=forged, trust_env=False).status_code)

    person.extend([forges, approves])

    report = verify_here(house.url, "--json", "--browser", "--only", "owner.token")

    assert seen == [400]
    assert report.with_status("pass") == ["owner.token"]


def test_a_server_that_loses_the_state_is_named(
    house: House, verify_here: Verify, person: list[Callable[[str], Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(browser, "WAIT_AFTER_STRAY_SECONDS", 0.1)
    house.proxy.fault = Changing(approving, with_location("&state=[^&]*", ""))
    person.append(approves)

    report = verify_here(house.url, "--json", "--browser", "--only", "owner.token")

    assert report.with_status("fail") == ["owner.sign_in"]
    assert "without the state" in report.checks["owner.sign_in"]["detail"]


def test_a_server_that_repeats_the_post_at_the_client_is_named(
    house: House, verify_here: Verify, person: list[Callable[[str], Any]]
) -> None:
    def repeats(address: str) -> None:
        location = approve.approve(address, PASSWORD)
        httpx2.post(location, data={"password": PASSWORD}, trust_env=False)

    person.append(repeats)

    report = verify_here(house.url, "--json", "--browser", "--only", "owner.see_other")

    assert report.with_status("fail") == ["owner.see_other"]
    assert "by POST" in report.checks["owner.see_other"]["detail"]


def test_an_error_that_the_browser_brings_back_is_shown(
    house: House, verify_here: Verify, person: list[Callable[[str], Any]]
) -> None:
    def fails(address: str) -> None:
        callback, state = callback_in(address)
        answer = {"error": "server_error", "error_description": "No disk.\x1b[31m", "state": state}
        httpx2.get(callback, params=answer, trust_env=False)

    person.append(fails)

    report = verify_here(house.url, "--json", "--browser", "--only", "owner.token")

    told = "The server answers the approval with server_error: No disk. [31m."
    assert report.checks["owner.sign_in"]["detail"] == told


def test_where_no_app_on_this_computer_may_connect_it_says_so_at_once(
    rendered: Path, verify: Verify
) -> None:
    server = Running(
        rendered, MCP_STATE_DIR=".closed-state", MCP_PASSWORD=PASSWORD,
        MCP_ALLOWED_REDIRECT_DOMAINS="claude.ai",
    )  # fmt: skip

    report = verify(
        server.url, "--json", "--browser", "--only", "owner.token", BROWSER="/nowhere/no-browser"
    )
    server.kill()

    assert (report.code, report.err) == (1, "")
    failure = report.checks["owner.sign_in"]
    assert failure["detail"].startswith("The server lets no browser come back to this computer")
    assert "Add localhost to MCP_ALLOWED_REDIRECT_DOMAINS" in failure["cure"]


def test_a_browser_and_a_password_file_are_one_too_many(
    verify_here: Verify, tmp_path: Path
) -> None:
    report = verify_here(
        "http://localhost:1", "--browser", "--password-file", str(tmp_path / "password")
    )

    assert (report.code, report.out) == (2, "")
    assert report.err == "verify.py: give either --browser or --password-file, not both.\n"


def test_no_browser_opens_for_what_needs_no_owner(
    house: House, verify_here: Verify, person: list[Callable[[str], Any]]
) -> None:
    person.append(pytest.fail)

    report = verify_here(house.url, "--json", "--browser", "--only", "reach.health")

    assert (report.code, report.err) == (0, "")


# ---- The port on this computer -------------------------------------------------------------------


@pytest.fixture
def listener() -> Iterator[Listener]:
    with listening() as listener:
        yield listener


def sent(listener: Listener, raw: bytes) -> bytes:
    """Sends bytes and returns everything that comes back."""
    with socket.create_connection(("127.0.0.1", listener.server_address[1]), timeout=10) as there:
        try:
            there.sendall(raw)
            there.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: there.recv(65536), b""))
        except OSError:  # it has hung up with bytes of ours unread
            return b""


def test_it_listens_on_the_loopback_only(listener: Listener) -> None:
    assert listener.server_address[0] == "127.0.0.1"
    assert listener.callback == f"http://127.0.0.1:{listener.server_address[1]}/callback"


def test_the_last_page_says_little_and_is_kept_by_nobody(listener: Listener) -> None:
    answer = httpx2.get(
        listener.callback, params={"code": "c", "state": listener.state}, trust_env=False
    )

    assert answer.status_code == 200
    assert "You can close this window." in answer.text
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    assert listener.returned.get(timeout=5).answer == {"code": "c", "state": listener.state}


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("GET /favicon.ico HTTP/1.1", 404),
        ("GET / HTTP/1.1", 404),
        ("GET /callback HTTP/1.1", 404),
        ("GET /callback?state={state} HTTP/1.1", 404),
        ("GET /callback/?code=c&state={state} HTTP/1.1", 404),
        ("GET /callback?code=c&code=d&state={state} HTTP/1.1", 404),
        ("GET /callback?code=c&state={state}&state={state} HTTP/1.1", 404),
        ("GET //[?code=c&state={state} HTTP/1.1", 404),
        ("GET /callback?code=c HTTP/1.1", 400),
        ("GET /callback?code=c&state= HTTP/1.1", 400),
        ("GET /callback?code=c&state=%C3%A9 HTTP/1.1", 400),
        ("GET /callback?error=access_denied&state=x HTTP/1.1", 400),
        ("HEAD /callback?code=c&state={state} HTTP/1.1", 501),
        ("CONNECT example.com:443 HTTP/1.1", 501),
    ],
)
def test_whoever_else_calls_is_turned_away(listener: Listener, line: str, status: int) -> None:
    request = line.format(state=listener.state).encode() + b"\r\nHost: localhost\r\n\r\n"

    answer = sent(listener, request)

    assert answer.split()[1] == str(status).encode()
    assert listener.returned.empty()


def test_a_port_scanner_does_not_stop_it(listener: Listener) -> None:
    with socket.create_connection(("127.0.0.1", listener.server_address[1])):  # says nothing
        sent(listener, b"")
        sent(listener, b"\x16\x03\x01\x02\x00\x01\x00\xff\xfe")
        sent(listener, b"POST /callback HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\nabc")
        sent(listener, b"GET /" + b"x" * 100_000)

        answer = httpx2.get(
            listener.callback, params={"code": "c", "state": listener.state}, trust_env=False
        )

    assert answer.status_code == 200
    assert listener.returned.get(timeout=5).answer["code"] == "c"


# ---- Servers that were not made from the template ------------------------------------------------


@contextmanager
def in_memory() -> Iterator[str]:
    """Serves FastMCP's provider for tests, which approves at once; yields its URL."""
    port = free_port()
    url = f"http://localhost:{port}"
    auth = InMemoryOAuthProvider(
        base_url=url,
        client_registration_options=ClientRegistrationOptions(enabled=True),
        revocation_options=RevocationOptions(enabled=True),
    )
    server = FastMCP("other", auth=auth, instructions="Use other_ping.")
    server.tool(
        lambda: "pong", name="other_ping", description="Answers.",
        annotations={"readOnlyHint": True},
    )  # fmt: skip
    app = server.http_app(stateless_http=True, json_response=True)
    running = Serving(app, port=port)
    yield url
    running.end()


def test_another_server_is_seen_as_its_owner_sees_it(
    verify_here: Verify, person: list[Callable[[str], Any]]
) -> None:
    person.append(lambda address: httpx2.get(address, follow_redirects=True, trust_env=False))

    with in_memory() as url:
        report = verify_here(url, "--json", "--browser")

    assert report.code == 1
    assert set(report.with_status("pass")) >= {
        "owner.sign_in",
        "owner.see_other",
        "owner.state",
        "owner.token",
        "owner.caching",
        "owner.code_once",
        "protocol.initialize",
        "protocol.notification",
        "protocol.tools",
        "protocol.call",
        "grant.refresh",
        "grant.lifetime",
        "grant.bound",
    }
    assert set(report.with_status("fail")) >= {"stranger.token", "owner.iss", "grant.overlap"}
