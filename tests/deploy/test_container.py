"""The image is really built, and the server really runs in it as a person would run it."""

from __future__ import annotations

import json
import re
import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from personal_auth.version import __version__
from tests.support.containers import BASE, LOCKED_DOWN, Engine, engine
from tests.support.owner import Connection, connect, rpc
from tests.support.process import wait_until_healthy
from tests.support.programs import free_port

SECRET = "a-secret-that-belongs-to-env"
MOST_OVER_THE_BASE = 250_000_000  # bytes
LONGEST_STOP = 10  # seconds
VOLUMES = ("-v=state:/state", "-v=data:/data")
RESTORED = ("-v=restored-state:/state", "-v=restored-data:/data")


@pytest.fixture(scope="module")
def podman() -> Iterator[Engine]:
    with engine() as made:
        yield made


@pytest.fixture(scope="module")
def project(rendered: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with the default answers, in which lie secrets."""
    project = tmp_path_factory.mktemp("project") / "my-server"
    shutil.copytree(rendered, project)
    (project / ".env").write_text(f"MCP_PASSWORD={SECRET}\n")
    (project / ".oauth-state").mkdir()
    (project / ".oauth-state/oauth_tokens.json").write_text(SECRET)
    return project


@pytest.fixture(scope="module")
def image(podman: Engine, project: Path) -> str:
    podman.build(project, "my-server")
    return "my-server"


@pytest.fixture(scope="module")
def with_packages(podman: Engine, project: Path, image: str) -> str:
    packages = ("--build-arg", "DEBIAN_PACKAGES=hello sl", "--build-arg", "VERSION=7.8.9")
    podman.build(project, "with-packages", *packages)
    return "with-packages"


class Container:
    """A container of the image that answers on a free port."""

    def __init__(self, podman: Engine, *arguments: str) -> None:
        port = free_port()
        self.url = f"http://localhost:{port}"
        self._podman = podman
        self.id = podman.say(
            *("run", "--detach", "--network=host", *LOCKED_DOWN, *arguments),
            *("-e", f"MCP_PORT={port}", "-e", f"MCP_PUBLIC_URL={self.url}", "my-server"),
        )
        assert wait_until_healthy(self.url, lambda: not self.runs), self.log

    @property
    def runs(self) -> bool:
        return self.state["Running"] is True

    @property
    def state(self) -> dict[str, Any]:
        state: dict[str, Any] = json.loads(self._podman.say("inspect", self.id))[0]["State"]
        return state

    @property
    def log(self) -> str:
        done = self._podman("logs", self.id)
        return done.stdout + done.stderr

    def does(self, *command: str) -> str:
        return self._podman.say("exec", self.id, *command)

    def health(self) -> int:
        return self._podman("healthcheck", "run", self.id).returncode

    def stop(self) -> tuple[int, float]:
        """Returns the exit code and how long it took."""
        began = time.monotonic()
        self._podman.say("stop", "--time", "30", self.id)
        took = time.monotonic() - began
        return self.state["ExitCode"], took

    def start(self) -> None:
        self._podman.say("start", self.id)
        assert wait_until_healthy(self.url, lambda: not self.runs), self.log


@pytest.fixture(scope="module")
def container(podman: Engine, image: str) -> Container:
    return Container(podman, *VOLUMES)


@pytest.fixture(scope="module")
def client(container: Container) -> Connection:
    password = container.does("cat", "/state/initial-password")
    return connect(container.url, password, "Box")


def test_the_first_start_writes_both_volumes_as_the_fixed_user(
    container: Container, client: Connection
) -> None:
    saved = rpc(client, "tools/call", name="myserver_save", arguments={"title": "a", "text": "b"})

    assert not saved.get("isError"), saved
    assert container.does("id", "-u") == container.does("id", "-g") == "10001"
    owners = container.does("sh", "-c", "stat -c '%u %a' /state /data /state/*.json /data/*")
    assert set(owners.split("\n")[:3]) == {"10001 700", "10001 600"}
    assert {line.split()[0] for line in owners.splitlines()} == {"10001"}


def test_the_process_can_gain_nothing_and_writes_nowhere_else(
    podman: Engine, container: Container
) -> None:
    status = container.does("cat", "/proc/1/status")
    tried = podman("exec", container.id, "sh", "-c", "echo x > /app/x || echo x > /etc/x")

    assert re.search(r"^CapEff:\s+0+$", status, re.MULTILINE)
    assert re.search(r"^CapBnd:\s+0+$", status, re.MULTILINE)
    assert re.search(r"^NoNewPrivs:\s+1$", status, re.MULTILINE)
    assert tried.returncode != 0
    assert tried.stderr.count("Read-only file system") == 2


def test_the_commands_work_beside_the_running_server(
    container: Container, client: Connection
) -> None:
    assert "Box" in container.does("my-server", "connections")


def test_the_health_check_tells_whether_the_server_answers(
    podman: Engine, container: Container
) -> None:
    assert container.health() == 0

    podman.say("kill", "--signal", "STOP", container.id)
    try:
        silent = container.health()
    finally:
        podman.say("kill", "--signal", "CONT", container.id)

    assert silent != 0
    assert container.health() == 0


def test_a_client_goes_on_after_a_stop_that_is_quick_in_spite_of_an_open_request(
    container: Container, client: Connection
) -> None:
    address = ("127.0.0.1", int(container.url.rpartition(":")[2]))
    with socket.create_connection(address, timeout=30) as held:
        host = f"localhost:{address[1]}".encode()
        held.sendall(b"POST /token HTTP/1.1\r\nhost: " + host + b"\r\ncontent-length: 9\r\n\r\n")
        code, took = container.stop()

    assert code == 0
    assert took < LONGEST_STOP
    container.start()
    assert len(rpc(client, "tools/list")["tools"]) == 6
    assert client.refresh().status_code == 200


def test_the_state_goes_on_in_the_next_container_and_a_restored_one_can_be_written(
    podman: Engine, image: str, container: Container, client: Connection, tmp_path: Path
) -> None:
    """As docs/troubleshooting.md brings it to another machine: the image's own user unpacks it."""
    tar = ("run", "--rm", "--network=none", *LOCKED_DOWN, "-v", f"{tmp_path}:/backup")
    tmp_path.chmod(0o777)
    container.stop()
    podman.say(*tar, *VOLUMES, image, "sh", "-c", "tar -czf /backup/volumes.tgz -C / state data")
    podman.say(*tar, *RESTORED, image, "sh", "-c", "tar -xzf /backup/volumes.tgz -C /")

    next_one = Container(podman, *RESTORED)

    assert "Box" in next_one.does("my-server", "connections")
    next_one.does("my-server", "connections", "revoke", "--all")
    assert "Box" not in next_one.does("my-server", "connections")
    assert next_one.stop()[0] == 0


@pytest.mark.parametrize(
    ("mounts", "flags"),
    [
        ((), "-v my_server_state:/state -v my_server_data:/data"),
        ((VOLUMES[0],), "-v my_server_data:/data"),
        (("--tmpfs=/state", VOLUMES[1]), "-v my_server_state:/state"),
    ],
    ids=["nothing", "the state alone", "the state in memory"],
)
def test_a_folder_that_would_go_with_the_container_is_refused_until_one_insists(
    podman: Engine, image: str, mounts: tuple[str, ...], flags: str
) -> None:
    refused = podman("run", "--rm", "--network=host", *mounts, image, timeout=30)

    assert refused.returncode == 2
    assert refused.stderr.startswith("No volume is mounted at /")
    assert refused.stderr.count("\n") == 1
    assert f"add {flags} to `docker run`" in refused.stderr
    if not mounts:
        insisting = Container(podman, "--read-only=false", "-e=MCP_REQUIRE_VOLUMES=false")
        insisting.stop()


def test_the_image_says_what_it_is(podman: Engine, image: str, with_packages: str) -> None:
    built, other = (json.loads(podman.say("inspect", name))[0] for name in (image, with_packages))

    label = "org.opencontainers.image.version"
    assert built["Config"]["Labels"][label] == __version__
    assert other["Config"]["Labels"][label] == "7.8.9"
    assert built["Config"]["Labels"]["org.opencontainers.image.title"] == "my-server"
    assert built["Config"]["User"] == "10001:10001"
    assert "Volumes" not in built["Config"]


def test_the_image_adds_less_than_250_mb_to_its_base(podman: Engine, image: str) -> None:
    sizes = [
        int(podman.say("inspect", name, "--format", "{{.Size}}"))
        for name in (image, f"{BASE}:3.13-slim")
    ]

    assert 0 < sizes[0] - sizes[1] < MOST_OVER_THE_BASE


def test_nothing_that_builds_is_in_the_image(podman: Engine, image: str) -> None:
    look = "command -v uv pip pip3 gcc cc make git; ls -d /usr/local/bin/uv; python -m pip -V"
    found = podman("run", "--rm", "--network=none", image, "sh", "-c", look)

    assert found.stdout == ""
    assert "No module named pip" in found.stderr


def test_no_layer_and_no_line_of_its_history_holds_a_secret(podman: Engine, image: str) -> None:
    archive = podman.folder / "image.tar"
    podman.say("save", "--output", str(archive), image)
    history = podman.say("history", "--no-trunc", "--format", "{{.CreatedBy}}", image)
    files = podman.say(
        *("run", "--rm", "--user=0", "--network=none", image),
        *("find", "/app", "-maxdepth", "1", "-mindepth", "1", "-printf", "%f\n"),
    )

    raw = archive.read_bytes()
    archive.unlink()
    assert b"personal_auth/provider.py" in raw  # so that what is searched is no compressed layer
    assert SECRET.encode() not in raw
    assert SECRET not in history
    assert set(files.split()) == {".venv", "pyproject.toml", "src", "uv.lock"}


def test_the_packages_that_were_asked_for_are_there_without_the_lists(
    podman: Engine, with_packages: str
) -> None:
    look = "hello && ls /usr/games/sl && find /var/lib/apt/lists -mindepth 1"
    there = podman("run", "--rm", "--network=none", with_packages, "sh", "-c", look)

    assert there.returncode == 0, there.stderr
    assert there.stdout == "Hello, world!\n/usr/games/sl\n"


def test_another_version_of_python_is_another_base(podman: Engine, project: Path) -> None:
    with pytest.raises(AssertionError, match=r"python:4\.99-slim"):
        podman.build(project, "never", "--build-arg", "PYTHON_VERSION=4.99")
