"""The rendered Caddyfile and server block of nginx, with TLS, before a server that streams."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.deploy.fronts import PROXIES, Front, front, site_of_nginx
from tests.deploy.networks import own_network
from tests.deploy.rendering import changed, deploy_alone
from tests.deploy.visitor import Visitor
from tests.generate.project import copy, snapshot
from tests.support import forks
from tests.support.process import MAIN, Running, environment
from tests.support.programs import free_port, need
from tests.support.tls import Authority

PASSWORD = "a password of some length"
HERE = "127.0.0.1"
EDGES = {"edge.stream", "edge.agents", "stranger.forwarded", "reach.certificate", "grant.refresh"}
SERVED = Path(__file__).parents[1] / "clients/served.py"
FORGED = {
    "X_Forwarded_For": "203.0.113.66",
    "X_Real_IP": "203.0.113.66",
    "Forwarded": "for=203.0.113.66;host=evil.example;proto=http",
    "X_Forwarded_Host": "evil.example",
    "X_Forwarded_Proto": "http",
    "True_Client_IP": "203.0.113.66",
    "CF_Connecting_IP": "203.0.113.66",
}
STEPS = '''"""Tools that the test holds in its hands."""

import asyncio

from fastmcp import Context
from fastmcp.tools import tool

READS, WRITES = {"readOnlyHint": True}, {"readOnlyHint": False}
told = asyncio.Semaphore(0)


@tool(annotations=WRITES)
async def steps(context: Context) -> str:
    """Takes three steps, each when it is told to."""
    for step in range(3):
        await context.report_progress(step, 3)
        await told.acquire()
    return "done"


@tool(annotations=WRITES)
async def tell() -> None:
    """Tells the other tool to take its next step."""
    told.release()


@tool(annotations=READS)
def measure(text: str) -> int:
    """Says how long a text is."""
    return len(text)
'''


@dataclass
class Place:
    """A server behind a proxy."""

    project: Path
    front: Front
    server: Running

    def start(self, **settings: str) -> None:
        """Starts the server again where it was."""
        settings |= {"MCP_PORT": str(self.server.port), "MCP_PASSWORD": PASSWORD}
        self.server = Running(self.project, ("-c", MAIN), **settings)

    def said_since(self, mark: int) -> str:
        """Returns what the server has logged since its log had a length."""
        return self.server.log[mark:]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return snapshot(tmp_path_factory.mktemp("template"))


@contextmanager
def placed(
    template: Path,
    folder: Path,
    kind: str,
    program: tuple[str, ...] = ("-c", MAIN),
    start: type[subprocess.Popen[Any]] = forks.Popen,
    **settings: str,
) -> Iterator[Place]:
    """Renders a project for one kind of proxy and starts both."""
    tunnel, program_before = PROXIES[kind]
    need(program_before)
    port = free_port()
    url = f"https://localhost:{free_port()}"
    project = folder / "my-server"
    copy(template, project, tunnel=tunnel, public_url=url, port=str(port))
    (project / "src/my_server/tools/steps.py").write_text(STEPS)
    settings = {"MCP_PASSWORD": PASSWORD, "MCP_RESPONSES": "sse", **settings}
    (folder / "front").mkdir()
    with front(kind, project / "deploy", folder / "front", url) as before:
        server = Running(project, program, start, MCP_PORT=str(port), **settings)
        place = Place(project, before, server)
        try:
            yield place
        finally:
            place.server.kill()


@pytest.fixture(scope="module", params=PROXIES)
def place(
    request: pytest.FixtureRequest, template: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Place]:
    with placed(template, tmp_path_factory.mktemp(request.param), request.param) as place:
        yield place


@pytest.fixture(scope="module")
def owner(place: Place) -> Visitor:
    """Somebody who is connected."""
    return Visitor(place.front).sign_in(PASSWORD)


def verified(place: Place) -> subprocess.CompletedProcess[str]:
    settings = {"MCP_PASSWORD": PASSWORD, "SSL_CERT_FILE": str(place.front.authority)}
    return subprocess.run(
        [sys.executable, "verify.py", "--json"],
        cwd=place.project,
        env=environment(place.project, **settings),
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_verify_finds_nothing_to_mend(place: Place) -> None:
    done = verified(place)

    report = json.loads(done.stdout)
    assert report["url"] == place.front.url
    assert [check for check in report["checks"] if check["status"] != "pass"] == []
    assert {check["id"] for check in report["checks"]} >= EDGES
    assert done.returncode == 0, done.stdout


def test_a_client_signs_in_calls_a_tool_and_renews_its_token(place: Place) -> None:
    client = Visitor(place.front).sign_in(PASSWORD)

    saved = client.call("myserver_save", text="Buy oat milk")
    client.refresh()
    found = client.call("myserver_search", query="oat")

    assert saved["isError"] is False
    assert "oat milk" in json.dumps(found)


def test_each_event_of_an_answer_arrives_when_it_is_sent(place: Place, owner: Visitor) -> None:
    steps: list[Any] = []

    # The tool waits until its last event has arrived here: held back, it would wait for ever.
    with owner.calling("myserver_steps") as events:
        for event in events:
            steps.append(event.get("params", {}).get("progress", event.get("result")))
            if "result" not in event:
                teller = Visitor(place.front)
                teller.access_token = owner.access_token
                teller.call("myserver_tell")

    assert steps[:3] == [0, 1, 2]
    assert steps[3]["content"][0]["text"] == "done"


def test_a_client_that_goes_away_is_no_trouble(place: Place, owner: Visitor) -> None:
    mark = len(place.server.log)
    gone = Visitor(place.front)
    gone.access_token = owner.access_token

    with gone.calling("myserver_steps") as events:
        assert next(events)["params"]["progress"] == 0
        assert connections_to(place.server.port)
    gone.http.close()
    eventually(lambda: not connections_to(place.server.port))

    assert owner.call("myserver_measure", text="four")["structuredContent"] == {"result": 4}
    owner.call("myserver_tell")
    assert "Traceback" not in place.said_since(mark)


@pytest.mark.parametrize("headers", [{}, FORGED], ids=["honest", "forged"])
def test_the_server_knows_where_a_client_is_whatever_it_says(
    place: Place, headers: dict[str, str]
) -> None:
    mark = len(place.server.log)

    answers = [Visitor(place.front, address, **headers).guess() for address in ADDRESSES]

    assert all("not the password" in answer.text for answer in answers)
    said = [line for line in place.said_since(mark).splitlines() if "[wrong_password]" in line]
    assert [line.rpartition("address=")[2] for line in said] == list(ADDRESSES)
    assert "203.0.113.66" not in place.said_since(mark)
    Visitor(place.front).sign_in(PASSWORD)  # so that no wait is left to the next test


ADDRESSES = ("127.0.0.2", "127.0.0.3")


def test_what_a_client_says_about_the_way_changes_no_answer(place: Place) -> None:
    paths = ["/.well-known/oauth-authorization-server", "/mcp", "/nothing", "/authorize"]

    def answers(visitor: Visitor) -> list[tuple[int, str, str | None]]:
        found = [visitor.http.get(path) for path in paths]
        return [(a.status_code, a.text, a.headers.get("www-authenticate")) for a in found]

    assert answers(Visitor(place.front, **FORGED)) == answers(Visitor(place.front))


def test_another_host_gets_nothing_from_the_server(place: Place) -> None:
    http = Visitor(place.front).http

    answer = http.get("/.well-known/oauth-authorization-server", headers={"host": "evil.example"})

    # nginx leaves it to the server, Caddy has no such site.
    assert (answer.status_code, answer.text) == (200, "") or answer.status_code == 421
    assert "endpoint" not in answer.text


def test_plain_http_leads_to_https_with_the_same_request(place: Place) -> None:
    answer = httpx.get(f"http://localhost:{place.front.http_port}/mcp?a=b", trust_env=False)

    assert answer.status_code == 308
    assert answer.headers["location"] == f"{place.front.url}/mcp?a=b"


def test_a_sign_in_may_end_at_the_servers_own_port_on_the_clients_computer(place: Place) -> None:
    callback = f"http://{HERE}:{place.server.port}/callback"

    client = Visitor(place.front).sign_in(PASSWORD, callback)

    assert client.location.startswith(f"{callback}?")


def test_a_large_text_arrives_and_one_too_large_is_refused_by_the_server(
    place: Place, owner: Visitor
) -> None:
    length = owner.call("myserver_measure", text="x" * 3_500_000)
    headers = {"authorization": f"Bearer {owner.access_token}"}

    # The server answers before it has read all, which a proxy that is still sending may miss.
    for _ in range(5):
        refused = owner.http.post("/mcp", content=b"x" * 4_500_000, headers=headers)
        if refused.status_code != 502:
            break

    assert length["structuredContent"] == {"result": 3_500_000}
    missed = {502} if place.front.tunnel == "caddy" else set()
    assert refused.status_code in {413} | missed
    assert owner.call("myserver_measure", text="four")["structuredContent"] == {"result": 4}
    assert "html" not in refused.text


def test_a_request_line_that_is_too_long_is_refused_by_the_server(place: Place) -> None:
    answer = Visitor(place.front).http.get("/authorize", params={"state": "x" * 9000})

    assert answer.status_code == 414
    assert answer.json()["error"]


def test_a_client_that_waits_to_be_asked_for_its_body_is_asked(place: Place) -> None:
    visitor = Visitor(place.front)
    port = int(place.front.url.rpartition(":")[2])
    body = b"grant_type=authorization_code"
    head = (
        f"POST /token HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: close\r\n"
        "Content-Type: application/x-www-form-urlencoded\r\n"
        f"Content-Length: {len(body)}\r\nExpect: 100-continue\r\n\r\n"
    )

    with (
        socket.create_connection((HERE, port), 10) as plain,
        visitor.tls.wrap_socket(plain, server_hostname="localhost") as connection,
    ):
        connection.sendall(head.encode())
        asked = connection.recv(4096)
        connection.sendall(body)
        answer = b"".join(iter(lambda: connection.recv(4096), b""))

    assert asked.startswith(b"HTTP/1.1 100 ")
    assert b"HTTP/1.1 40" in answer
    assert b'"error"' in answer


def test_http_2_is_spoken(place: Place) -> None:
    command = [need("curl"), "-sS", "--http2", "--cacert", str(place.front.authority)]
    command += ["-w", "%{http_version}", f"{place.front.url}/healthz"]

    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)

    assert done.stdout == "ok\n2"


@dataclass
class Restart:
    """What came of a restart behind a proxy of which nobody spoke, with answers as JSON."""

    client: Visitor  # had signed in before
    away: Visitor  # came while the server was away
    meanwhile: list[httpx.Response]
    result: dict[str, Any]
    guesses: list[httpx.Response]
    said: str


@pytest.fixture(scope="module")
def restart(place: Place) -> Restart:
    client, away = Visitor(place.front).sign_in(PASSWORD), Visitor(place.front)
    place.server.stop()
    meanwhile = [away.http.get("/authorize", params={"state": away.state}), away.http.get("/mcp")]
    mark = len(place.server.log)
    answers = place.project / "src/personal_server/answers.json"
    told = f'"tunnel": "{place.front.tunnel}"'
    answers.write_text(changed(answers.read_text(), (told, '"tunnel": "none"')))
    place.start(MCP_RESPONSES="json")
    result = client.call("myserver_measure", text="four")
    client.refresh()
    guesses = [Visitor(place.front, address).guess() for address in ADDRESSES]
    return Restart(client, away, meanwhile, result, guesses, place.said_since(mark))


def test_a_client_goes_on_after_the_server_restarts_behind_the_proxy(restart: Restart) -> None:
    assert [answer.status_code for answer in restart.meanwhile] == [502, 502]
    assert restart.result["structuredContent"] == {"result": 4}
    assert restart.client.refresh_token


def test_a_proxy_that_nobody_named_is_not_believed_which_is_said_once(restart: Restart) -> None:
    assert all("not the password" in guess.text for guess in restart.guesses)
    assert re.findall(r"\[wrong_password\] address=(\S+)", restart.said) == [HERE, HERE]
    assert restart.said.count("[forwarded_header_not_believed]") == 1
    assert f"(MCP_TRUSTED_PROXIES), or everybody counts as one address. peer={HERE}" in restart.said


def test_no_log_of_the_proxy_holds_what_a_sign_in_sends(place: Place, restart: Restart) -> None:
    client, said = restart.client, place.front.said

    # Caddy keeps no access log; of what it could not pass on both would tell everything.
    assert "/authorize" in said
    for secret in (client.state, client.code, client.refresh_token, restart.away.state):
        assert len(secret) > 20
        assert secret not in said
    assert "code_challenge" not in said
    assert PASSWORD not in said


@pytest.mark.parametrize("kind", PROXIES)
def test_one_guesser_does_not_make_another_wait(template: Path, tmp_path: Path, kind: str) -> None:
    clock = tmp_path / "clock"
    clock.write_text("0")
    settings = {"TESTS_CLOCK": str(clock), "TESTS_HOSTS": "", "TESTS_PORT": "0"}
    stranger, other = "203.0.113.7", "203.0.113.8"

    def pass_time(seconds: int) -> None:
        clock.write_text(str(float(clock.read_text()) + seconds))

    with (
        own_network(stranger, other),
        # In this network, where a fork of another process is not.
        placed(template, tmp_path, kind, (str(SERVED),), subprocess.Popen, **settings) as place,
    ):
        for _ in range(10):
            assert "not the password" in Visitor(place.front, stranger).guess().text
            pass_time(16)  # the longest that all others have to wait
        forger = Visitor(place.front, stranger, X_Forwarded_For=other, X_Real_IP=other)
        answers = [visitor.guess() for visitor in (forger, Visitor(place.front, other))]

    assert answers[0].status_code == 429
    assert "not the password" in answers[1].text


@pytest.mark.parametrize("kind", ["caddy", "caddy-of-debian"])
@pytest.mark.parametrize(
    "answers",
    [
        {},
        {"public_url": "https://mcp.example.com", "port": "9000"},
        {"public_url": "https://mcp.example.com:8443", "package_name": "kitchen_helper"},
    ],
    ids=["no address yet", "a domain", "another port"],
)
def test_caddy_accepts_its_file_without_a_warning(
    tmp_path: Path, answers: dict[str, str], kind: str
) -> None:
    deploy = deploy_alone(tmp_path, tunnel="caddy", **answers)
    caddy = need(PROXIES[kind][1])
    file = str(deploy / "caddy/Caddyfile")
    host = answers.get("public_url", "https://mcp.example.com").removeprefix("https://")

    command = [caddy, "validate", "--config", file, "--adapter", "caddyfile"]
    valid = subprocess.run(command, capture_output=True, text=True)
    formatted = subprocess.run([caddy, "fmt", file], capture_output=True, text=True)

    assert valid.returncode == 0, valid.stderr
    assert '"level":"warn"' not in valid.stderr
    assert formatted.stdout == Path(file).read_text()
    assert f"\n{host} {{\n" in formatted.stdout
    assert f"\n\treverse_proxy 127.0.0.1:{answers.get('port', 8050)} {{\n" in formatted.stdout
    assert ("PLACEHOLDER" in formatted.stdout) == (not answers)


@pytest.mark.parametrize("port", ["", ":8443"], ids=["443", "another port"])
def test_nginx_accepts_its_file_without_a_word(tmp_path: Path, port: str) -> None:
    nginx = need("nginx")
    deploy = deploy_alone(tmp_path, tunnel="nginx", public_url=f"https://localhost{port}")
    certificate = Authority(tmp_path).issue("localhost")
    config = site_of_nginx(deploy, tmp_path, certificate, 8080)

    command = [nginx, "-t", "-p", str(tmp_path), "-c", str(config), "-e", "stderr"]
    done = subprocess.run(command, capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    assert [line for line in done.stderr.splitlines() if not line.startswith("nginx: ")] == []
    text = (tmp_path / "site.conf").read_text()
    assert f"listen {port[1:] or 443} ssl http2;" in text
    assert f"return 308 https://localhost{port}$request_uri;" in text


def test_nginx_is_told_a_placeholder_until_there_is_an_address(tmp_path: Path) -> None:
    (file,) = (deploy_alone(tmp_path, tunnel="nginx") / "nginx").iterdir()

    text = file.read_text()

    assert "mcp.example.com IS A PLACEHOLDER" in text
    assert text.count("server_name mcp.example.com;") == 2


def eventually(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def connections_to(port: int) -> int:
    """Counts the connections that somebody holds to a port of this machine."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    established = "01"
    return sum(row[3] == established and int(row[2].rpartition(":")[2], 16) == port for row in rows)
