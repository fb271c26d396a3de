"""The rendered unit, looked at by systemd's own tools and run by a real systemd."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.booted import TARGETS, Machine, booted, prepare
from tests.deploy.rendering import deploy_alone
from tests.support.memory import on_disk
from tests.support.owner import Connection, connect, rpc
from tests.support.programs import free_port, need

NAME = "mcp-my-server"
LIBRARIES = f"LD_LIBRARY_PATH=/opt/{NAME}/.python/lib"
EXPOSURE = 2.5  # of 10, as `systemd-analyze security` counts
LONG_NAME = "_".join(["recipes"] * 5)
ESCAPES = '''"""What a tool that somebody took over might try."""

import ctypes
import mmap
import os
from pathlib import Path

from fastmcp.tools import tool

TRIES = {
    "change the code": lambda: Path("/opt/mcp-my-server/src/mine.py").write_text(""),
    "write beside it": lambda: Path("/opt/mcp-my-server/mine").write_text(""),
    "write into /etc": lambda: Path("/etc/mine").write_text(""),
    "write into /var": lambda: Path("/var/lib/mine").write_text(""),
    "see the homes": lambda: next(Path("/root").iterdir()),
    "see other processes": lambda: Path("/proc/1/status").read_text(),
    "write and run memory": lambda: mmap.mmap(-1, 4096, prot=7),
    "become root": lambda: os.setuid(0),
    "mount": lambda: called(ctypes.CDLL(None, use_errno=True).mount(b"x", b"/tmp", b"tmpfs", 0, 0)),
    "change the host's name": lambda: called(
        ctypes.CDLL(None, use_errno=True).sethostname(b"x", 1)
    ),
}


def called(result: int) -> None:
    if result:
        raise OSError(ctypes.get_errno(), "refused")


@tool
def escape() -> list[str]:
    """Tries what it must not; returns what it could."""
    could = []
    for what, act in TRIES.items():
        try:
            act()
        except (OSError, StopIteration):
            continue
        could.append(what)
    return could
'''


@pytest.fixture(scope="module")
def machine(rendered: Path) -> Iterator[Machine]:
    with tempfile.TemporaryDirectory(prefix="machine-", dir=on_disk()) as place:
        folder, port = Path(place), free_port()
        project = folder / "my-server"
        shutil.copytree(rendered, project)
        prepare(project, NAME)
        (project / "src/my_server/tools/escapes.py").write_text(ESCAPES)
        install = f"{steps(project)}\n{beside(folder, port)}"
        with booted(project, folder, NAME, port, install) as machine:
            machine.wait_until_healthy()
            yield machine


def steps(project: Path) -> str:
    """Returns the commands of the page that are root's, without what makes .venv."""
    text = (project / "docs/deploying.md").read_text()
    page = text.partition("## As a service, without a container")[2].partition("\n## ")[0]
    blocks = re.findall(r"```\n(.*?)```", page.replace("\n   ", "\n"), re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    wanted = [
        line
        for line in lines
        if re.search("useradd|install -m|tee -a|cp deploy|systemctl enable", line)
    ]
    assert len(wanted) == 5, wanted
    commands = "\n".join(wanted).replace("sudo ", "").replace(" --now", "")
    return f"cd /opt/{NAME}\n{commands}"


def beside(folder: Path, port: int) -> str:
    """Returns what only a test needs: a free port, a log without a journal, a Python moved here."""
    override = f"/etc/systemd/system/{NAME}.service.d"
    return f"""
        echo MCP_PORT={port} >> .env
        mkdir {override}
        printf '[Service]\\nStandardOutput=append:{folder}/server.log\\n' > {override}/log.conf
        printf 'StandardError=inherit\\nEnvironment={LIBRARIES}\\n' >> {override}/log.conf
    """


@pytest.fixture(scope="module")
def connection(machine: Machine) -> Connection:
    password = machine.sh(f"cat /var/lib/{NAME}/state/initial-password").strip()
    return connect(machine.url, password)


def test_it_starts_with_the_machine_and_a_client_outlives_its_restart(
    machine: Machine, connection: Connection
) -> None:
    rpc(connection, "tools/call", name="myserver_save", arguments={"text": "Buy oat milk"})

    machine.systemctl("restart")
    machine.wait_until_healthy()
    found = rpc(connection, "tools/call", name="myserver_search", arguments={"query": "oat"})

    assert "oat milk" in json.dumps(found)
    assert connection.refresh().status_code == 200


def test_a_tool_cannot_leave_its_box(machine: Machine, connection: Connection) -> None:
    process = machine.show("MainPID")

    could = rpc(connection, "tools/call", name="myserver_escape", arguments={})
    status = dict(
        line.split(":\t", 1) for line in machine.sh(f"cat /proc/{process}/status").splitlines()
    )

    assert could["structuredContent"] == {"result": []}
    assert status["Uid"].split() == [machine.sh(f"id -u {NAME}").strip()] * 4
    assert int(status["CapBnd"], 16) == int(status["CapEff"], 16) == 0
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")


def test_what_it_keeps_is_for_its_user_alone(machine: Machine, connection: Connection) -> None:
    listed = machine.sh(f"find /var/lib/{NAME} -printf '%u %m %y\\n'")

    found = {tuple(line.split()) for line in listed.splitlines()}

    assert {user for user, _, _ in found} == {NAME}
    assert {mode[-2:] for _, mode, _ in found} == {"00"}
    assert {kind for _, _, kind in found} >= {"d", "f"}


def test_the_owners_commands_find_the_server(machine: Machine, connection: Connection) -> None:
    command = f"env {LIBRARIES} /opt/{NAME}/.venv/bin/my-server connections --json"

    printed = machine.sh(f"runuser -u {NAME} -- {command}")

    assert [row["client"] for row in json.loads(printed)] == ["Test"]


def test_it_comes_back_after_it_was_killed(machine: Machine, connection: Connection) -> None:
    before = machine.show("MainPID")
    assert before != "0"  # which would be the tests themselves

    machine.sh(f"kill -KILL {before}")
    deadline = time.monotonic() + 20
    while machine.show("MainPID") in {before, "0"}:
        assert time.monotonic() < deadline
    machine.wait_until_healthy()

    assert machine.show("NRestarts") == "1"
    assert rpc(connection, "tools/list")["tools"]


def test_a_refused_setting_is_said_once_and_stops_it(
    machine: Machine, connection: Connection
) -> None:
    env = f"/opt/{NAME}/.env"
    restarts, mark = machine.show("NRestarts"), len(machine.log)

    machine.sh(f"cp -p {env} /run/env && echo MCP_LOG_FORMAT=loud >> {env}")
    machine.systemctl("restart")
    deadline = time.monotonic() + 20
    while machine.show("ActiveState") in {"active", "activating"}:
        if machine.show("SubState") == "auto-restart":
            break
        assert time.monotonic() < deadline
    state = [machine.show(name) for name in ("ActiveState", "SubState", "ExecMainStatus")]
    said = machine.log[mark:]
    machine.sh(f"cp -p /run/env {env}")
    machine.systemctl("start")
    machine.wait_until_healthy()

    assert state == ["failed", "failed", "2"]
    assert said.count("MCP_LOG_FORMAT is refused") == 1
    assert machine.show("NRestarts") in {restarts, "0"}


def test_it_stops_when_it_is_told_to(machine: Machine) -> None:
    begun = time.monotonic()

    machine.systemctl("stop")

    assert time.monotonic() - begun < 10
    assert machine.show("Result") == "success"
    machine.systemctl("start")
    machine.wait_until_healthy()


@pytest.mark.parametrize(
    ("answers", "name"),
    [
        ({}, NAME),
        ({"project_name": "chef", "package_name": LONG_NAME, "tunnel": "none"}, ""),
    ],
    ids=["defaults", "a long name"],
)
def test_systemd_finds_nothing_wrong_with_the_unit(
    tmp_path: Path, answers: dict[str, str], name: str
) -> None:
    analyze = need("systemd-analyze")
    name = name or f"mcp-{LONG_NAME.replace('_', '-')}"
    (unit,) = (deploy_alone(tmp_path, **answers) / "systemd").iterdir()
    root = tmp_path / "root"
    program = root / f"opt/{name}/.venv/bin/{answers.get('project_name', 'my-server')}"
    for folder in (program.parent, root / "etc/systemd/system"):
        folder.mkdir(parents=True)
    program.touch(0o755)
    shutil.copy(unit, root / "etc/systemd/system")
    for target in TARGETS:
        (root / f"etc/systemd/system/{target}.target").write_text("[Unit]\nDescription=x\n")

    verified = run(analyze, "verify", f"--root={root}", f"{name}.service")
    limit = f"--threshold={int(EXPOSURE * 10)}"
    judged = run(analyze, "security", "--offline=true", "--no-pager", limit, str(unit))

    assert (verified.returncode, verified.stdout, verified.stderr) == (0, "", "")
    assert judged.returncode == 0, judged.stdout + judged.stderr
    (exposure,) = re.findall(r"Overall exposure level for \S+: ([0-9.]+) ", judged.stdout)
    assert float(exposure) < EXPOSURE
    (user,) = re.findall("^User=(.*)$", unit.read_text(), re.MULTILINE)
    assert len(user) < 32  # the most that Linux takes


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=60)
