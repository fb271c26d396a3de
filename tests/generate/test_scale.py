"""Two servers behind a balancer, for those whose state is in a store that they can share."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.generate.conftest import Render
from tests.generate.test_deploy_files import COMPOSE_SCHEMA, YAMLLINT, lint, load
from tests.support.programs import need

STORES = ["redis", "postgres"]


@pytest.fixture(params=STORES)
def project(request: pytest.FixtureRequest, render: Render) -> Path:
    return render(storage=request.param, port="9000")


def test_one_server_brings_no_balancer(render: Render) -> None:
    project = render()

    assert "balancer" not in load(project / "compose.yml")["services"]
    assert not (project / "deploy/scale").exists()
    assert (project / "docs/scaling.md").exists()


def test_compose_with_replicas_is_what_its_specification_asks(project: Path) -> None:
    lint("check-jsonschema", *COMPOSE_SCHEMA, "compose.yml", folder=project)
    lint("yamllint", "--strict", "-d", YAMLLINT, "compose.yml", folder=project)


def test_the_replicas_are_the_server_without_its_name_and_port(project: Path) -> None:
    services = load(project / "compose.yml")["services"]
    server, replicas = services["server"], [services["replica-1"], services["replica-2"]]
    hidden = ("read_only", "cap_drop", "security_opt", "tmpfs", "volumes", "env_file", "image")

    for replica in replicas:
        assert replica["profiles"] == ["scale"]
        assert not {"container_name", "ports"} & set(replica)
        assert [replica[key] for key in hidden] == [server[key] for key in hidden]
        assert set(server["environment"]) <= set(replica["environment"])


def test_the_balancer_takes_the_place_of_the_server_and_names_the_replicas(project: Path) -> None:
    services = load(project / "compose.yml")["services"]
    balancer = services["balancer"]

    assert balancer["ports"] == services["server"]["ports"] == ["127.0.0.1:9000:9000"]
    assert balancer["networks"]["default"]["aliases"] == ["server"]
    assert balancer["environment"]["REPLICAS"] == "replica-1:9000 replica-2:9000"
    assert balancer["environment"]["SERVER_NETWORK"] == "${SERVER_NETWORK:-10.35.40.0/24}"
    assert {"replica-1", "replica-2"} <= set(balancer["depends_on"])
    assert balancer["cap_drop"] == ["ALL"]


def test_caddy_takes_the_balancers_file(project: Path, tmp_path: Path) -> None:
    folders = {name: str(tmp_path) for name in ("XDG_DATA_HOME", "XDG_CONFIG_HOME")}
    command = [need("caddy"), "adapt", "--validate", "--config", "deploy/scale/Caddyfile"]

    done = subprocess.run(
        command, cwd=project, env={**os.environ, **folders}, capture_output=True, text=True
    )

    assert done.returncode == 0, done.stderr
    assert re.findall(r'"dial":"([^"]+)"', done.stdout) == ["replica-1:9000", "replica-2:9000"]
    assert '"uri":"/readyz"' in done.stdout
    network = load(project / "compose.yml")["networks"]["default"]["ipam"]["config"][0]["subnet"]
    [trusted] = re.findall(r'"trusted_proxies":\["([^"]+)"\]', done.stdout)
    assert network == f"${{SERVER_NETWORK:-{trusted}}}"


def test_compose_takes_a_third_replica_as_the_page_writes_it(project: Path, tmp_path: Path) -> None:
    copied = Path(shutil.copytree(project, tmp_path / "my-server"))
    [override] = re.findall(
        r"```yaml\n(.*?)```", (copied / "docs/scaling.md").read_text(), re.DOTALL
    )
    (copied / "compose.override.yml").write_text(override)
    command = [need("docker-compose"), "--profile", "*", "config", "--format", "json"]

    done = subprocess.run(
        command,
        cwd=copied,
        env={**os.environ, "STORAGE_PASSWORD": "letters"},
        capture_output=True,
        text=True,
    )

    assert (done.returncode, done.stderr) == (0, "")
    services = json.loads(done.stdout)["services"]
    third, balancer = services["replica-3"], services["balancer"]
    assert third == services["replica-2"]
    assert balancer["environment"]["REPLICAS"].split()[2] == "replica-3:9000"
    assert "replica-3" in balancer["depends_on"]
