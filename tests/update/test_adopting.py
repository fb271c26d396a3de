"""docs/adopting.md: a server made from one copied file becomes a project, and its clients stay.

The tests run the document's own commands. Nothing stands in for git and bash; what stands in for
uv, uvx and docker is in `adopting.py`. The edits that the document's table asks of a person are
`move_tools`.
"""

from __future__ import annotations

import asyncio
import json
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from personal_auth import PersonalAuthProvider
from tests.generate.project import git
from tests.support.owner import Connection, rpc
from tests.support.process import MAIN, Running, environment
from tests.support.programs import free_port
from tests.update.adopting import (
    EARLIER,
    PASSWORD,
    ask,
    commands,
    connect,
    move_tools,
    programs,
    repository,
    walk,
)
from tests.update.releases import Releases, conflicts, replace, update, write

STATE = ".oauth-state/oauth_tokens.json"
INITIALIZE = {
    "protocolVersion": "2025-06-18",
    "capabilities": {},
    "clientInfo": {"name": "Claude", "version": "1"},
}


@dataclass
class Adopted:
    """A repository after step 4: everything is moved, tested and committed; nothing was started."""

    project: Path
    bin: Path
    steps: dict[str, list[str]]
    port: int
    connection: Connection
    session: str  # the client's session with the earlier server
    state: bytes  # what that server had stored
    told: dict[str, str]  # what the blocks of each step printed

    def copy(self, folder: Path) -> Path:
        """Returns a project of one's own in the same condition, with the earlier server's state."""
        ignored = shutil.ignore_patterns("control.sock", "lock")
        project = Path(shutil.copytree(self.project, folder / "vault", ignore=ignored))
        (project / STATE).write_bytes(self.state)
        return project

    def walk(self, project: Path, block: str, stdin: str = "", **settings: str) -> str:
        return walk(project, self.bin, block, stdin, **settings)


@pytest.fixture(scope="module")
def adopted(releases: Releases, tmp_path_factory: pytest.TempPathFactory) -> Adopted:
    """A repository whose server ran, and which went through steps 1 to 4."""
    folder, port = tmp_path_factory.mktemp("adopting"), free_port()
    project, steps = repository(folder / "vault", port), commands(port)
    bin = programs(folder / "bin", releases.folder)
    old = Running(project, ("example_server.py",), MCP_PORT=str(port))
    try:
        connection = connect(old.url)
        message = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": INITIALIZE}
        session = connection.post(message).headers["mcp-session-id"]
    finally:
        old.kill()
    (project / "vault.json").write_text('{"first": "a text of the earlier server"}')
    state = (project / STATE).read_bytes()
    told = {}
    for step in ("1", "2", "3", "4"):
        if step == "4":
            move_tools(project)
        told[step] = "".join(walk(project, bin, block) for block in steps[step])
    return Adopted(project, bin, steps, port, connection, session, state, told)


async def connections(state_dir: Path, port: int) -> list[str]:
    """Returns the names of the clients that are connected, as a command finds them."""
    url = f"http://localhost:{port}"
    async with PersonalAuthProvider(url, state_dir=state_dir).service.for_a_command() as service:
        return [grant["client"]["name"] for grant in (await service.connections.all()).values()]


@pytest.fixture(scope="module")
def server(adopted: Adopted) -> Iterator[Running]:
    """The adopted server after step 5, with the password chosen by the owner."""
    choose, start = adopted.steps["5"]
    adopted.told["5"] = adopted.walk(adopted.project, choose, stdin=f"{PASSWORD}\n")
    program = shlex.split(start)
    assert program[0] == "uv"
    running = Running(
        adopted.project, (str(adopted.bin / "uv"), *program[1:]), MCP_PORT=str(adopted.port)
    )
    yield running
    running.kill()


def test_every_command_of_the_document_is_run_here(adopted: Adopted) -> None:
    blocks = {step: len(found) for step, found in adopted.steps.items()}

    numbered = {"1": 1, "2": 1, "3": 1, "4": 1, "5": 2, "6": 2}
    assert blocks == {**numbered, "In a container": 1, "Going back": 1}


def test_nothing_of_the_earlier_server_is_left(adopted: Adopted) -> None:
    tracked = set(git(adopted.project, "ls-files").split())

    earlier = {path.name for path in EARLIER.iterdir()} | {".gitignore"}
    kept = {"README.md", "pyproject.toml", "Dockerfile", ".gitignore"}
    assert earlier & tracked == kept
    assert not {"personal_auth.py", "example_server.py"} & {
        path.name for path in adopted.project.iterdir()
    }
    assert "example_server" not in (adopted.project / "Dockerfile").read_text()


def test_nothing_shadows_the_package_in_the_projects_folder(adopted: Adopted) -> None:
    project = adopted.project

    found = subprocess.run(
        [
            sys.executable,
            "-c",
            "from importlib.util import find_spec; print(find_spec('personal_auth').origin)",
        ],
        cwd=project,
        env=environment(project),
        capture_output=True,
        text=True,
        check=True,
    )

    assert found.stdout.strip() == str(project / "src/personal_auth/__init__.py")


def test_what_the_owner_had_is_kept(adopted: Adopted) -> None:
    project = adopted.project

    pyproject = (project / "pyproject.toml").read_text()
    ignored = git(project, "check-ignore", ".env", "secrets.txt", "vault.json", ".oauth-state")

    assert '  # ---- yours below this line ----\n  "httpx>=0.28",\n]\n' in pyproject
    assert ignored.split() == [".env", "secrets.txt", "vault.json", ".oauth-state"]
    assert (project / "README.md").read_text() == (EARLIER / "README.md").read_text()
    assert (project / ".env").read_text() == "WEATHER_API_KEY=a-secret\n"
    assert (project / "tests/mine/conftest.py").is_file()
    assert git(project, "status", "--porcelain") == ""


def test_its_tests_and_ruff_pass_with_the_owners_own(adopted: Adopted) -> None:
    ran = json.loads((adopted.project / ".pytest_cache/v/cache/nodeids").read_text())

    assert "0 remaining" in adopted.told["4"]
    assert f"{len(ran)} passed" in adopted.told["4"]
    assert "tests/mine/test_mine.py::test_mine" in ran
    assert any(name.startswith("tests/test_strangers.py") for name in ran)


def test_the_first_command_takes_the_connections_over_and_says_so(
    adopted: Adopted, server: Running
) -> None:
    assert "Connections of an earlier server stay connected" in adopted.told["5"]
    assert "password --revoke-all" in adopted.told["5"]
    assert "Claude" in adopted.told["5"]


def test_a_client_goes_on_with_its_token_and_its_session(adopted: Adopted, server: Running) -> None:
    listed = rpc(adopted.connection, "tools/list")
    found = rpc(adopted.connection, "tools/call", name="vault_find", arguments={"name": "first"})
    read = rpc(adopted.connection, "resources/read", uri="vault://names")
    kept = adopted.connection.post(
        {"jsonrpc": "2.0", "id": 7, "method": "ping", "params": {}},
        **{"mcp-session-id": adopted.session},
    )

    assert {tool["name"] for tool in listed["tools"]} == {"vault_save", "vault_find"}
    assert found["content"][0]["text"] == "a text of the earlier server"
    assert read["contents"][0]["text"] == "first"
    assert kept.status_code == 200


def test_a_client_renews_its_tokens_again_and_again(adopted: Adopted, server: Running) -> None:
    connection = adopted.connection

    first = connection.refresh().json()
    renewed = Connection(
        server.url, connection.client_id, first["access_token"], first["refresh_token"]
    )
    second = renewed.refresh().json()
    renewed.access_token = second["access_token"]

    assert len(rpc(renewed, "tools/list")["tools"]) == 2
    assert len({connection.refresh_token, renewed.refresh_token, second["refresh_token"]}) == 3


def test_a_stranger_who_got_a_code_before_gets_a_page_now(
    adopted: Adopted, server: Running
) -> None:
    answer, _ = ask(server.url)

    assert "location" not in answer.headers
    assert 'name="password"' in answer.text


def test_verify_finds_no_fault_in_the_adopted_server(adopted: Adopted, server: Running) -> None:
    told = adopted.walk(adopted.project, "uv run verify.py", MCP_PASSWORD=PASSWORD, COLUMNS="200")

    assert "It works, and strangers stay out" in told


def test_the_tokens_of_the_earlier_server_are_no_longer_readable(
    adopted: Adopted, server: Running
) -> None:
    stored = (adopted.project / STATE).read_text()

    assert adopted.connection.access_token.encode() in adopted.state
    assert adopted.connection.access_token not in stored
    assert adopted.connection.refresh_token not in stored


def test_after_the_last_step_nobody_is_connected_and_updates_come_without_a_conflict(
    adopted: Adopted, releases: Releases, tmp_path: Path
) -> None:
    project = adopted.copy(tmp_path)
    cut, finish = adopted.steps["6"]

    adopted.walk(project, cut, stdin=f"{PASSWORD}\n")
    left = asyncio.run(connections(project / ".oauth-state", adopted.port))
    adopted.walk(project, finish)
    branch = git(project, "branch", "--show-current").strip()
    releases.release(
        "v1.9.0",
        replace("template/pyproject.toml.jinja", '"cryptography>=46"', '"cryptography>=47"'),
        replace("template/.gitignore", "/dist/\n", "/dist/\n/new/\n"),
        replace("template/Dockerfile.jinja", "USER 10001:10001\n", "USER 10001:10001\n# new\n"),
        write("template/docs/new.md", "# New\n"),
    )
    update(project)

    changed = set(git(project, "diff", "--name-only").split())
    assert left == []
    assert branch == "main"
    assert not (project / ".oauth-state/before-adopting.json").exists()
    assert conflicts(project) == []
    listed = "src/personal_server/shipped.sha256"
    assert changed == {".copier-answers.yml", ".gitignore", "Dockerfile", "pyproject.toml", listed}
    assert (project / "docs/new.md").is_file()
    assert '"httpx>=0.28",\n' in (project / "pyproject.toml").read_text()
    assert (project / ".gitignore").read_text().endswith((EARLIER / "dot-gitignore").read_text())


def test_going_back_brings_the_earlier_server_with_its_state(
    adopted: Adopted, tmp_path: Path
) -> None:
    project = adopted.copy(tmp_path)
    (project / "src/vault/tools/half.py").write_text("unfinished(\n")
    (project / "Dockerfile").write_text("unfinished\n")
    (project / STATE).write_text("the state of the new server")
    (project / "data").mkdir()
    (project / "data/notes.sqlite3").write_text("what the new tools have kept")

    adopted.walk(project, adopted.steps["Going back"][0])

    assert git(project, "branch", "--show-current").strip() == "main"
    assert git(project, "diff", "--stat", "before-adopting") == ""
    assert git(project, "status", "--porcelain") == "?? data/\n"  # ignored by the new one alone
    assert (project / "data/notes.sqlite3").read_text() == "what the new tools have kept"
    assert (project / STATE).read_bytes() == adopted.state
    assert json.loads((project / "vault.json").read_text()).keys() == {"first"}
    assert (project / ".env").is_file()


def test_in_a_container_the_state_goes_to_the_servers_volume(
    adopted: Adopted, tmp_path: Path
) -> None:
    project, volume = adopted.copy(tmp_path), tmp_path / "volume"
    volume.mkdir()
    (project / "oauth-state").mkdir()
    (project / "oauth-state/oauth_tokens.json").write_bytes(adopted.state)
    (project / STATE).unlink()
    compose = yaml.safe_load((project / "compose.yml").read_text())

    adopted.walk(project, adopted.steps["In a container"][0], VOLUME=str(volume))

    assert "state:/state" in compose["services"]["server"]["volumes"]
    assert compose["volumes"]["state"]["name"] == "vault_state"
    assert (volume / "oauth_tokens.json").stat().st_mode & 0o777 == 0o600
    assert asyncio.run(connections(volume, adopted.port)) == ["Claude"]
    assert git(project, "status", "--porcelain") == ""


@pytest.mark.parametrize("program", [["-c", MAIN], ["-m", "pytest", "-q"]], ids=["start", "tests"])
def test_a_file_that_hides_the_sign_in_stops_the_start_with_a_sentence(
    adopted: Adopted, tmp_path: Path, program: list[str]
) -> None:
    project = adopted.copy(tmp_path)
    shutil.copy(EARLIER / "personal_auth.py", project)
    path = f"{project}:{project / 'src'}"

    done = subprocess.run(
        [sys.executable, *program],
        cwd=project,
        env=environment(project, PYTHONPATH=path),
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith(f"{project / 'personal_auth.py'} is imported in place of")
