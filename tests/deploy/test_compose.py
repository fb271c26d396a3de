"""What Compose itself makes of compose.yml and of .env, and that the server takes the same."""

from __future__ import annotations

import itertools
import json
import os
import random
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import redis

from personal_server import settings
from tests.generate.project import copy, snapshot
from tests.support.programs import free_port, need

HASH = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNoaGFzaGhhc2g"
STORES = ["file", "redis", "postgres"]
LONG_ENOUGH = "and twelve more"


@pytest.fixture(scope="module")
def projects(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One project for each store; not to be changed."""
    template = snapshot(tmp_path_factory.mktemp("template"))
    made = {}
    for storage in STORES:
        made[storage] = tmp_path_factory.mktemp(storage) / "my-server"
        copy(template, made[storage], storage=storage)
    return made


def compose(folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Asks the real Compose for what it would start, with every profile."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return subprocess.run(
        [need("docker-compose"), "--profile", "*", "config", "--format", "json"],
        cwd=folder,
        env={**kept, **variables},
        capture_output=True,
        text=True,
        timeout=60,
    )


def services(folder: Path, **variables: str) -> dict[str, Any]:
    done = compose(folder, **variables)
    assert done.returncode == 0, done.stderr
    assert "level=warning" not in done.stderr
    found: dict[str, Any] = json.loads(done.stdout)["services"]
    return found


def plain(value: str) -> str:
    """Returns what a container gets: Compose writes each dollar sign of its answer twice."""
    return value.replace("$$", "$")


@pytest.mark.parametrize("storage", STORES)
def test_compose_takes_every_service_and_grants_none_more_than_it_needs(
    projects: dict[str, Path], storage: str
) -> None:
    for name, service in services(projects[storage], STORAGE_PASSWORD="abc").items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert all(port["host_ip"] == "127.0.0.1" for port in service.get("ports", [])), name


@pytest.mark.parametrize("storage", ["redis", "postgres"])
def test_the_store_is_kept_checked_waited_for_and_reached_by_the_server_alone(
    projects: dict[str, Path], storage: str
) -> None:
    found = services(projects[storage], STORAGE_PASSWORD="abc")

    store, server = found[storage], found["server"]
    assert "ports" not in store
    assert store["user"] == storage
    assert [volume["type"] for volume in store["volumes"]] == ["volume"]
    assert store["healthcheck"]["test"]
    assert server["depends_on"][storage]["condition"] == "service_healthy"
    assert ":abc@" in server["environment"]["MCP_STORAGE_URL"]
    assert f"@{storage}:" in server["environment"]["MCP_STORAGE_URL"]


@pytest.mark.parametrize("storage", ["redis", "postgres"])
def test_a_store_without_a_password_is_refused_with_the_line_to_write(
    projects: dict[str, Path], storage: str
) -> None:
    done = compose(projects[storage])

    assert done.returncode != 0
    assert "write STORAGE_PASSWORD= and what openssl rand -hex 24 prints into .env" in done.stderr


def test_redis_as_compose_starts_it_asks_for_the_password_and_forgets_nothing(
    projects: dict[str, Path], tmp_path: Path
) -> None:
    need("redis-server")
    service = services(projects["redis"], STORAGE_PASSWORD="s3cret")["redis"]
    port, (shell, flag, script) = free_port(), map(plain, service["command"])
    script = script.replace("--dir /data", f"--dir {tmp_path} --port {port} --bind 127.0.0.1")
    environment = {**os.environ, **service["environment"]}

    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen([shell, flag, script], env=environment, stdout=subprocess.DEVNULL)

    def ask(password: str | None) -> redis.Redis:
        client = redis.Redis(port=port, password=password, decode_responses=True)
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            try:
                client.ping()
            except redis.exceptions.BusyLoadingError:
                time.sleep(0.05)
            except redis.exceptions.ConnectionError as error:
                if isinstance(error, redis.exceptions.AuthenticationError):
                    break
                time.sleep(0.05)
            except redis.exceptions.ResponseError:
                break
            else:
                break
        return client

    first = start()
    try:
        ask("s3cret").set("kept", "yes")
        policy = ask("s3cret").config_get("maxmemory-policy")
        with pytest.raises((redis.exceptions.AuthenticationError, redis.exceptions.ResponseError)):
            ask(None).get("kept")
    finally:
        first.terminate()
        ended = first.wait(20)
    with pytest.raises(redis.exceptions.ConnectionError):
        redis.Redis(port=port, retry=None).ping()  # nothing stays behind
    second = start()
    try:
        kept = ask("s3cret").get("kept")
    finally:
        second.terminate()
        second.wait(20)

    assert policy == {"maxmemory-policy": "noeviction"}
    assert ended == 0
    assert kept == "yes"
    assert not any("s3cret" in word for word in service["command"])


def read(
    monkeypatch: pytest.MonkeyPatch, project: Path, line: str
) -> str | settings.SettingRefused | None:
    """Returns the password that the server takes from a line of .env, or its refusal."""
    (project / ".env").write_text(f"{line}\n")
    monkeypatch.setattr(settings, "project_root", lambda: project)
    monkeypatch.setattr(
        settings,
        "answers",
        lambda: json.loads((project / "src/personal_server/answers.json").read_text()),
    )
    monkeypatch.delenv("MCP_PASSWORD", raising=False)
    try:
        return settings.load().password
    except settings.SettingRefused as refused:
        return refused


@pytest.fixture
def project(projects: dict[str, Path], tmp_path: Path) -> Path:
    target = tmp_path / "my-server"
    shutil.copytree(projects["file"], target)
    return target


@pytest.mark.parametrize(
    ("line", "value"),
    [
        (f"MCP_PASSWORD='{HASH}'", HASH),
        ("MCP_PASSWORD='pa$word ${HOME} $$ # and'", "pa$word ${HOME} $$ # and"),
        ("MCP_PASSWORD='it is \"said\" so'", 'it is "said" so'),
        ('MCP_PASSWORD="it\'s so, and so"', "it's so, and so"),
        ("MCP_PASSWORD=with spaces in between # said", "with spaces in between"),
        (r"MCP_PASSWORD='back\slash and more'", r"back\slash and more"),
    ],
)
def test_a_value_survives_on_both_ways(
    monkeypatch: pytest.MonkeyPatch, project: Path, line: str, value: str
) -> None:
    taken = read(monkeypatch, project, line)

    assert taken == value
    assert plain(services(project)["server"]["environment"]["MCP_PASSWORD"]) == value


@pytest.mark.parametrize("line", [f"MCP_PASSWORD={HASH}", 'MCP_PASSWORD="a long pa$word, this"'])
def test_a_value_that_compose_would_change_is_refused_with_the_way_to_write_it(
    monkeypatch: pytest.MonkeyPatch, project: Path, line: str
) -> None:
    refused = str(read(monkeypatch, project, line))

    assert "MCP_PASSWORD='...'" in refused
    assert "argon2" not in refused
    assert "pa$word" not in refused


def test_what_the_server_takes_from_any_line_is_what_compose_takes(
    monkeypatch: pytest.MonkeyPatch, project: Path
) -> None:
    """Every value is made of what the two could read in different ways, from a fixed seed."""
    pieces = [*"$#'\"\\ a={}`!", "${A}", "$A", "$$", "\\n", "\\\\", "\\'", '\\"', " #", "\t", "ä"]
    chance = random.Random(6)
    taken: dict[str, str] = {}
    lines = []
    for number, quote in itertools.product(range(150), ["", "'", '"']):
        middle = "".join(chance.choices(pieces, k=chance.randint(1, 5)))
        text = f"{quote}{LONG_ENOUGH}{middle}{LONG_ENOUGH}{quote}"
        value = read(monkeypatch, project, f"MCP_PASSWORD={text}")
        if isinstance(value, str):
            name = f"V{number}_{'nsd'[['', chr(39), chr(34)].index(quote)]}"
            taken[name] = value
            lines.append(f"{name}={text}")
    (project / ".env").write_text("\n".join(lines) + "\n")

    environment = services(project)["server"]["environment"]

    assert len(taken) > 150
    differing = {
        name: (value, environment[name])
        for name, value in taken.items()
        if plain(environment[name]) != value
    }
    assert not differing
