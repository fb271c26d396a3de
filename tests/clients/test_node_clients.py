"""Programs with Node connect: mcp-remote, the MCP Inspector, and both TypeScript packages.

One that keeps running goes on in the same process; the Inspector's command line starts each time.
A page in Chromium stands for what the Inspector does in a browser.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.browser.places import Host
from tests.clients.home import Home, expire
from tests.clients.house import PASSWORD, House
from tests.clients.node_programs import KINDS, SETTINGS, Client, use
from tests.support.programs import chromium
from tests.support.tls import certificate


@pytest.fixture(params=KINDS)
def client(request: pytest.FixtureRequest, place: House, tmp_path: Path) -> Client:
    """A client that has never connected."""
    return KINDS[request.param](Home(place, tmp_path / "home", **SETTINGS))


@pytest.fixture
def clients(place: House, tmp_path: Path) -> list[Client]:
    """One of each kind, each in a home of its own."""
    return [kind(Home(place, tmp_path / name, **SETTINGS)) for name, kind in KINDS.items()]


def test_it_signs_in_once_and_uses_the_tools(client: Client) -> None:
    with client.connected() as program:
        tools = program.rpc("tools/list")["tools"]
        use(program)
    with client.connected() as program:
        use(program)

    assert {"myserver_save", "myserver_search"} < {tool["name"] for tool in tools}
    assert len(client.home.opened) == 1


def test_an_access_token_that_expires_is_renewed_without_a_browser(client: Client) -> None:
    with client.connected() as program:
        use(program)
        before, _ = client.kept()
        expire(client.home.place)
        use(program)
    after, _ = client.kept()

    assert before["access_token"] != after["access_token"]
    assert before["refresh_token"] != after["refresh_token"]
    assert len(client.home.opened) == 1


def test_denied_it_ends_with_an_error_that_says_so(client: Client) -> None:
    client.home.decides("deny")

    status, out, said = client.home.outcome(*client.command)

    assert status == 1
    assert "The connection was denied on the server's page." in said, out + said
    assert len(client.home.opened) == 1


def test_each_goes_on_across_a_restart_of_the_server(place: House, clients: list[Client]) -> None:
    with ExitStack() as stack:
        running = [stack.enter_context(client.connected()) for client in clients]
        for program in running:
            use(program)
        place.restart()
        for program in running:
            use(program)

    assert [len(client.home.opened) for client in clients] == [1] * len(clients)


def test_after_a_loss_of_the_state_each_registers_and_signs_in_anew_by_itself(
    place: House, clients: list[Client]
) -> None:
    with ExitStack() as stack:
        running = [stack.enter_context(client.connected()) for client in clients]
        for program in running:
            use(program)
        lost = [client.kept()[1] for client in clients]
        place.lose_state()
        for program in running:
            use(program)

    for client, before in zip(clients, lost, strict=True):
        assert client.kept()[1] != before
        assert len(client.home.opened) == 2


def test_a_page_at_another_origin_signs_in_uses_the_tools_and_signs_out_in_chromium(
    place: House, tmp_path: Path
) -> None:
    host = Host(certificate(tmp_path, "localhost"))
    for path in ("/", "/oauth/callback"):
        host.show(path, Path(__file__).with_name("page.html").read_text())
    with chromium() as browser:
        page = browser.new_context(ignore_https_errors=True).new_page()

        page.goto(f"http://localhost:{host.port}/")
        page.goto(page.evaluate("begin", place.mcp))
        page.get_by_label("Password of this server").fill(PASSWORD)
        page.get_by_role("button", name="Approve").click()
        page.wait_for_url("**/oauth/callback?**")
        done = page.evaluate("finish", place.mcp)
    host.stop()

    assert "myserver_save" in done["tools"]
    assert done["after"] == 401
