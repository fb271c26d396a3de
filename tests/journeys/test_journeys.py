"""Each journey of docs/troubleshooting.md is walked: its commands lead where the person wants."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
from pathlib import Path

import httpx
import pytest

from tests.generate.project import git
from tests.journeys.conftest import Computer, Page
from tests.journeys.machine import Machine
from tests.journeys.page import fill, journeys, links
from tests.support.home import Home, enrol
from tests.support.owner import Connection, connect, rpc
from tests.support.programs import need
from tests.update.releases import Releases, commit, replace, write

NEW = "a much better password"
CLOUD = "https://claude.ai/api/mcp/auth_callback"
MCP_REMOTE = "http://localhost:3334/oauth/callback"
DICE = '''from fastmcp.tools import tool


@tool(annotations={"readOnlyHint": True})
def dice() -> int:
    """Rolls a die. Use this whenever the user leaves something to chance."""
    return 4
'''


def works(client: Connection) -> bool:
    """Tells whether a client can use the tools; one that cannot is told to sign in."""
    status = client.post({"jsonrpc": "2.0", "id": 1, "method": "tools/list"}).status_code
    assert status in {200, 401}
    return status == 200


def tools(client: Connection) -> list[str]:
    return [tool["name"] for tool in rpc(client, "tools/list")["tools"]]


def keep_a_note(client: Connection) -> None:
    rpc(client, "tools/call", name="myserver_save", arguments={"text": "Buy oat milk"})


def notes(client: Connection) -> str:
    found = rpc(client, "tools/call", name="myserver_search", arguments={"query": "oat"})
    return json.dumps(found)


def opens(url: str, password: str) -> bool:
    """Tells whether a password signs in on the real page; a wrong one is named there."""
    try:
        connect(url, password)
    except AssertionError as error:
        if "That is not the password of this server." not in str(error):
            raise
        return False
    return True


@pytest.mark.parametrize("kind", ["uv", "docker"])
def test_i_forgot_the_password(page: Page, machine: Machine, url: str, kind: str) -> None:
    journey = page("I forgot the password")
    read, change, start = getattr(journey, kind)
    machine.start(journey.uv[-1], url) if kind == "uv" else machine.sh(start)
    machine.wait(url)
    first = machine.sh(read).stdout.strip()
    client = connect(url, first)

    machine.sh(read, fails=True)  # it goes away with the first sign-in
    machine.sh(change, given=f"{NEW}\n")

    assert opens(url, NEW)
    assert not opens(url, first)
    assert works(client)

    (machine.project / ".env").write_text("MCP_PASSWORD='one of the settings'\n")
    machine.stop()
    machine.start(start, url) if kind == "uv" else machine.sh(start)
    machine.wait(url)

    refused = machine.sh(change, given=f"{NEW}\n", fails=True)
    assert "MCP_PASSWORD" in refused.stderr
    assert opens(url, "one of the settings")
    assert works(client)


def begin(machine: Machine, kind: str, url: str) -> None:
    if kind == "uv":
        machine.start("uv run my-server", url)
    else:
        machine.sh("docker compose up -d")
        machine.wait(url)


@pytest.mark.parametrize("kind", ["uv", "docker"])
def test_i_lost_my_passkey(page: Page, machine: Machine, port: int, url: str, kind: str) -> None:
    switch_on, change, look, remove = getattr(page("I lost my passkey"), kind)
    begin(machine, kind, url)
    machine.sh(change, given="the password before\n")
    desk = Home(machine.project, {"MCP_PORT": str(port)}).browser()
    desk.sign_in("the password before")
    enrol(desk, "The lost one")
    assert "password-on" in desk.act("password-off").text

    machine.sh(switch_on)

    assert opens(url, "the password before")

    desk.sign_in("the password before")
    assert "password-on" in desk.act("password-off").text
    machine.sh(change, given=f"{NEW}\n")

    assert opens(url, NEW)

    listed = machine.sh(look).stdout.splitlines()
    lost = [line.split()[0] for line in listed if "The lost one" in line]
    machine.sh(fill(remove, ID=lost[0]))

    assert "There is no passkey" in machine.sh(look).stdout
    assert opens(url, NEW)


@pytest.mark.parametrize("kind", ["uv", "docker"])
def test_i_lost_a_phone_or_a_laptop(page: Page, machine: Machine, url: str, kind: str) -> None:
    look, end, change, end_all = getattr(page("I lost a phone or a laptop"), kind)
    begin(machine, kind, url)
    machine.sh(change, given="the password before\n")
    account = connect(url, "the password before", "Claude", CLOUD)
    laptop = connect(url, "the password before", "MCP CLI Proxy", MCP_REMOTE)

    listed = machine.sh(look).stdout.splitlines()
    lost = [line.split()[0] for line in listed if re.search(r"MCP CLI Proxy +localhost ", line)]
    kept = [line for line in listed if re.search(r"Claude +claude\.ai ", line)]
    machine.sh(fill(end, ID=lost[0]))

    assert len(lost) == len(kept) == 1
    assert not works(laptop)
    assert laptop.refresh().status_code == 400
    assert works(account)

    machine.sh(change, given=f"{NEW}\n")

    assert not opens(url, "the password before")
    assert works(account)

    machine.sh(end_all, given="and yet another one\n")

    assert not works(account)
    assert works(connect(url, "and yet another one", "Claude", CLOUD))


def test_it_gets_a_new_domain(page: Page, machine: Machine, url: str) -> None:
    journey = page("It gets a new domain")
    domain, new = "https://mcp.example.com", url.replace("localhost", "127.0.0.1")
    update, start, verify = [line.replace(domain, new) for line in journey.uv]
    (build,) = journey.docker
    settings = machine.project / ".env"
    settings.write_text(f"MCP_PUBLIC_URL={url}\nMCP_PASSWORD='{NEW}'\n")
    machine.start(start, url)
    old = connect(url, NEW, "Claude")
    machine.stop()

    machine.sh(update)
    settings.write_text(f"MCP_PASSWORD='{NEW}'\n")
    machine.start(start, new)

    machine.sh(verify, MCP_PASSWORD=NEW)
    old.url = new
    assert not works(old)
    assert works(connect(new, NEW, "Claude"))
    assert f"Setting {url} again brings them back" in machine.log
    listed = machine.sh("uv run my-server connections").stdout
    assert {line.split()[-1] for line in listed.splitlines()[1:] if line.strip()} == {
        f"{url}/mcp",
        f"{new}/mcp",
    }
    assert f"{new}/mcp" in (machine.project / "docs/clients.md").read_text()

    machine.stop()
    machine.sh(build)
    machine.wait(new)

    metadata = httpx.get(f"{new}/.well-known/oauth-authorization-server", trust_env=False).json()
    assert metadata["issuer"] == new

    machine.sh("docker compose down")
    settings.write_text(f"MCP_PUBLIC_URL={url}\nMCP_PASSWORD='{NEW}'\n")
    machine.start(start, url)

    old.url = url
    assert works(old)


def test_it_moves_to_a_new_machine(page: Page, computer: Computer, url: str) -> None:
    pack, unpack, start = page("It moves to a new machine").uv
    here, there = computer(), computer()
    (here.project / ".env").write_text(f"MCP_PASSWORD='{NEW}'\n")
    here.start("uv run my-server", url)
    client = connect(url, NEW)
    keep_a_note(client)
    here.stop()

    here.sh(pack)
    shutil.rmtree(there.project)
    there.project = there.folder  # where the file is brought
    shutil.move(here.folder / "my-server.tgz", there.folder)
    there.sh(unpack)
    there.project = there.folder / "my-server"
    there.start(start.replace("cd my-server && ", "cd ../my-server && "), url)

    assert works(client)
    assert "Buy oat milk" in notes(client)
    assert client.refresh().status_code == 200
    assert opens(url, NEW)
    assert git(there.project, "status", "--porcelain") == ""
    private = there.project / ".oauth-state/oauth_tokens.json"
    assert private.stat().st_mode & 0o777 == 0o600


def test_a_container_moves_to_a_new_machine(page: Page, computer: Computer, url: str) -> None:
    pack, unpack, _ = page("It moves to a new machine").uv
    down, save, build, restore, up = page("It moves to a new machine").docker
    here, there = computer(), computer()
    here.sh(up)
    here.wait(url)
    password = here.sh("docker compose exec server cat /state/initial-password").stdout.strip()
    client = connect(url, password)
    keep_a_note(client)

    for command in (down, save, pack):
        here.sh(command)
    shutil.rmtree(there.project)
    there.project = there.folder
    for name in ("my-server.tgz", "volumes.tar.gz"):
        shutil.move(here.folder / name, there.folder)
    there.sh(unpack)
    there.project = there.folder / "my-server"
    for command in (build, restore, up):
        there.sh(command)
    there.wait(url)

    assert works(client)
    assert "Buy oat milk" in notes(client)
    assert opens(url, password)


def test_connected_but_no_tool_is_ever_called(page: Page, machine: Machine, url: str) -> None:
    journey = page("Connected, but no tool is ever called")
    (verify,), (logs,) = journey.uv, journey.docker
    (machine.project / ".env").write_text(f"MCP_PASSWORD='{NEW}'\n")
    instructions = machine.project / "src/my_server/instructions.md"
    good = instructions.read_text()
    instructions.write_text("A server of mine.\n")
    machine.start("uv run my-server", url)

    told = machine.sh(verify, fails=True, MCP_PASSWORD=NEW).stdout

    assert "protocol.directive" in told
    assert "protocol.generic" not in told

    instructions.write_text(good)
    machine.stop()
    machine.sh("docker compose up -d")
    machine.wait(url)

    machine.sh(verify, MCP_PASSWORD=NEW)
    assert "Starting" in machine.sh(logs).stdout


def test_i_wrote_a_tool_and_it_does_not_show(page: Page, machine: Machine, url: str) -> None:
    (start,) = page("I wrote a tool and it does not show").uv
    tool = machine.project / "src/my_server/tools/games.py"
    (machine.project / ".env").write_text(f"MCP_PASSWORD='{NEW}'\n")
    machine.start(start, url)
    client = connect(url, NEW)
    tool.write_text(DICE)

    assert "myserver_dice" not in tools(client)

    machine.stop()
    tool.write_text(DICE.replace("from fastmcp.tools", "from fastmcp.tolls"))
    stopped = machine.sh(start, fails=True)

    assert stopped.stderr.splitlines()[-1].startswith("src/my_server/tools/games.py cannot be")

    tool.write_text(DICE.replace("@tool(", "dict("))
    machine.start(start, url)

    assert "src/my_server/tools/games.py holds no tool: put @tool" in machine.log
    assert "myserver_dice" not in tools(client)

    machine.stop()
    tool.write_text(DICE)
    machine.start(start, url)

    assert "myserver_dice" in tools(client)
    assert re.search(r"Tools: .*\bmyserver_dice\b", machine.log)


def test_a_tool_is_in_the_container_once_it_is_built(
    page: Page, machine: Machine, url: str
) -> None:
    build, logs = page("I wrote a tool and it does not show").docker
    (machine.project / ".env").write_text(f"MCP_PASSWORD='{NEW}'\n")
    machine.sh(build)
    machine.wait(url)
    client = connect(url, NEW)
    (machine.project / "src/my_server/tools/games.py").write_text(DICE)

    machine.sh("docker compose restart server")
    machine.wait(url)

    assert "myserver_dice" not in tools(client)

    machine.sh(build)
    machine.wait(url)

    assert "myserver_dice" in tools(client)
    assert "myserver_dice" in machine.sh(logs).stdout


def test_the_update_had_conflicts(page: Page, releases: Releases, machine: Machine) -> None:
    find, aside, theirs, check, save, back, look, clean = page("The update had conflicts").uv
    project, before = machine.project, '"cryptography>=46",'
    edited = {
        "docs/deploying.md": ("# Bringing it to your domain", "# Bringing it to my domain"),
        "Dockerfile": ("ARG UV_VERSION=0.13", "ARG UV_VERSION=0.12"),
        "pyproject.toml": (before, '"cryptography>=46,<99",\n  "pyyaml>=6",'),
    }
    for name, (old, new) in edited.items():
        replace(name, old, new)(project)
    commit(project, "Edits of mine")
    for name in (".env", "data/notes.sqlite3", ".oauth-state/oauth_tokens.json"):
        write(name, "private")(project)
    kept = git(project, "ls-tree", "-r", "HEAD")
    releases.release(
        "v9.0.0",
        replace("template/docs/deploying.md.jinja", "# Bringing it to your", "# Bringing it to a"),
        replace("template/Dockerfile.jinja", "ARG UV_VERSION=0.13", "ARG UV_VERSION=0.99"),
        replace("template/pyproject.toml.jinja", before, '"cryptography>=47",'),
        write("template/docs/more/new.md", "New in this release.\n"),
    )
    machine.sh("uvx copier update --defaults")
    found = machine.sh(find).stdout
    undecided = machine.folder / "undecided"
    shutil.copytree(project, undecided, symlinks=True)

    for name in ("docs/deploying.md", "Dockerfile"):
        machine.sh(fill(theirs, FILE=name))
    keep_both(project / "pyproject.toml", drop='"cryptography>=46,<99",')
    machine.sh(find, fails=True)
    assert machine.sh(aside).stdout == ""
    machine.sh(check)
    machine.sh(save)

    assert {line.split(":")[0] for line in found.splitlines()} == set(edited)
    assert "# Bringing it to a domain" in (project / "docs/deploying.md").read_text()
    assert "ARG UV_VERSION=0.99" in (project / "Dockerfile").read_text()
    dependencies = (project / "pyproject.toml").read_text()
    assert '"cryptography>=47",\n' in dependencies
    assert '"pyyaml>=6",\n' in dependencies
    assert git(project, "status", "--porcelain") == ""
    assert git(project, "show", "HEAD:docs/more/new.md") == "New in this release.\n"

    machine.project = undecided
    machine.sh(fill(theirs, FILE="Dockerfile").replace("--theirs", "--ours"))
    assert "ARG UV_VERSION=0.12" in (undecided / "Dockerfile").read_text()
    machine.sh(back)
    assert "docs/more/" in machine.sh(look).stdout
    machine.sh(clean)

    assert git(undecided, "ls-tree", "-r", "HEAD") == kept
    assert git(undecided, "status", "--porcelain") == ""
    assert "# Bringing it to my domain" in (undecided / "docs/deploying.md").read_text()
    assert not (undecided / "docs/more").exists()
    for name in (".env", "data/notes.sqlite3", ".oauth-state/oauth_tokens.json"):
        assert (undecided / name).read_text() == "private"


def keep_both(path: Path, drop: str) -> None:
    """Edits a conflict as a person does who is told to keep both, and drops one line."""
    lines = path.read_text().splitlines()
    kept = [line for line in lines if not re.match("<<<<<<<|=======|>>>>>>>", line)]
    assert len(lines) - len(kept) == 3
    path.write_text("\n".join(line for line in kept if line.strip() != drop) + "\n")


def test_the_port_is_taken(page: Page, machine: Machine, url: str, port: int) -> None:
    _, _, for_now, for_good = page("The port is taken").uv
    (build,) = page("The port is taken").docker
    other = url.replace(str(port), str(port + 10))
    (machine.project / ".env").write_text(f"MCP_PASSWORD='{NEW}'\n")
    with socket.create_server(("127.0.0.1", port)):
        refused = machine.sh("uv run my-server", fails=True)
        assert f"Port {port} on 127.0.0.1 cannot be used" in refused.stderr

        machine.sh(for_now)
        machine.start("uv run my-server", other)

        assert works(connect(other, NEW))
        machine.stop()

        refused = machine.sh(build, fails=True)
        assert "port is already allocated" in refused.stderr

        machine.sh(for_good)
        machine.sh(build)
        machine.wait(other)

        assert works(connect(other, NEW))


@pytest.mark.parametrize(("number", "program"), [(0, "ss"), (1, "lsof")])
def test_who_has_the_port_is_shown(
    page: Page, machine: Machine, port: int, number: int, program: str
) -> None:
    need(program)
    command = page("The port is taken").uv[number]

    with socket.create_server(("127.0.0.1", port)):
        shown = machine.sh(command).stdout

    assert re.search(rf"\b{os.getpid()}\b", shown)
    assert command.startswith(f"{program} ")


def test_the_list_leads_to_every_journey_and_each_has_a_test(rendered: Path) -> None:
    titles = list(journeys(rendered))

    listed = links(rendered)

    assert [name for name, _ in listed] == [*titles, "All else"]
    for name, place in listed:
        assert place == re.sub(r"[^a-z ]", "", name.lower()).replace(" ", "-")
    for title in titles:
        assert f"test_{re.sub('[^a-z ]', '', title.lower()).replace(' ', '_')}" in globals()


def test_each_step_of_a_journey_is_there_for_a_command(rendered: Path) -> None:
    for title, journey in journeys(rendered).items():
        for line in journey.uv + journey.docker:
            remark = line.rpartition(" # ")[2].split(",")[0]
            steps = [int(number) for number in re.findall(r"\b\d\b", remark)]

            assert steps, (title, line)
            assert max(steps) <= journey.steps, (title, line)
