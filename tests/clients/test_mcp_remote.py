"""What mcp-remote does beyond what every client does: apps start it, browsers open for it."""

from __future__ import annotations

import json
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.clients.home import SECONDS, Home, expire
from tests.clients.house import PASSWORD, House
from tests.clients.node_programs import SETTINGS, McpRemote, use
from tests.support.programs import chromium


class ByNpx(McpRemote):
    """As the configuration of Claude Desktop has it."""

    @property
    def command(self) -> tuple[str, ...]:
        return "npx", "-y", *super().command


@pytest.fixture
def home(place: House, tmp_path: Path) -> Home:
    return Home(place, tmp_path / "home", **SETTINGS)


@pytest.fixture(scope="module")
def lost(place: House, tmp_path_factory: pytest.TempPathFactory) -> tuple[Home, Home]:
    """Two homes whose server has lost its state: one that was connected, one that was denied."""
    folder = tmp_path_factory.mktemp("lost")
    connected = Home(place, folder / "connected", **SETTINGS)
    denied = Home(place, folder / "denied", "deny", **SETTINGS)
    with McpRemote(connected).connected() as app:
        use(app)
    denied.outcome(*McpRemote(denied).command)
    place.lose_state()
    return connected, denied


def the_opened(home: Home, number: int) -> str:
    """Waits until the browser was opened so often; returns the last address."""
    deadline = time.monotonic() + SECONDS
    while len(home.opened) < number:
        assert time.monotonic() < deadline, (home.folder / "said").read_text()
        time.sleep(0.02)
    return home.opened[number - 1]


def approve_in_chromium(home: Home) -> str:
    """Does what a person does when a tab opens; returns what the tab says in the end."""
    with chromium() as browser:
        page = browser.new_context(ignore_https_errors=True).new_page()
        page.goto(the_opened(home, 1))
        assert "MCP CLI Proxy" in page.inner_text("main")
        page.get_by_label("Password of this server").fill(PASSWORD)
        page.get_by_role("button", name="Approve").click()
        page.wait_for_url("**/oauth/callback?**")
        return str(page.inner_text("body"))


def test_an_app_starts_it_by_npx_and_a_person_signs_in_with_chromium(home: Home) -> None:
    home.decides(None)
    client = ByNpx(home)

    with ThreadPoolExecutor(1) as person:
        approving = person.submit(approve_in_chromium, home)
        with client.connected() as app:
            use(app)
        told = approving.result()
    with McpRemote(home).connected() as app:
        use(app)

    assert "Authorization successful" in told
    assert len(home.opened) == 1


def test_an_access_token_that_it_knows_to_have_expired_is_renewed_at_its_next_start(
    home: Home,
) -> None:
    client = McpRemote(home)
    with client.connected() as app:
        use(app)
    before, _ = client.kept()
    now = int(time.time() * 1000)

    client.file("tokens").write_text(json.dumps({**before, "expires_at": now}))
    with client.connected() as app:
        use(app)

    assert client.kept()[0]["refresh_token"] != before["refresh_token"]
    assert len(home.opened) == 1


def test_one_that_ends_before_it_has_stored_its_renewed_tokens_renews_the_old_ones_again(
    home: Home,
) -> None:
    client = McpRemote(home)
    with client.connected() as app:
        use(app)
        before = client.file("tokens").read_text()
        expire(home.place)
        use(app)

    client.file("tokens").write_text(before)
    with client.connected() as app:
        use(app)

    assert client.file("tokens").read_text() != before
    assert len(home.opened) == 1


def test_after_a_loss_of_the_state_its_next_start_registers_and_signs_in_anew_by_itself(
    lost: tuple[Home, Home],
) -> None:
    home, _ = lost
    client = McpRemote(home)
    _, before = client.kept()

    with client.connected() as app:
        use(app)

    assert client.kept()[1] != before
    assert len(home.opened) == 2


def test_with_a_lost_registration_and_no_tokens_the_page_says_what_to_delete_and_that_helps(
    lost: tuple[Home, Home],
) -> None:
    _, home = lost
    client = McpRemote(home)

    home.decides(None)
    with home.running(*client.command), httpx.Client(verify=home.place.tls) as browser:
        told = browser.get(the_opened(home, 2))
    home.decides("approve")
    shutil.rmtree(home.folder / ".mcp-auth")
    with client.connected() as app:
        use(app)

    assert told.status_code == 400
    assert "This server does not know the app" in told.text
    assert "Quit the app, delete the folder .mcp-auth in your home folder, start" in told.text
    assert len(home.opened) == 3
