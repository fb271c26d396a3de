"""The container, the tunnel and the workflow hold what their own tools and their purpose ask."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.generate.conftest import Render
from tests.generate.project import ROOT

BIN = Path(sys.executable).parent
WORKFLOWS = Path(".github/workflows")
COMPOSE_SCHEMA = ("--builtin-schema", "vendor.compose-spec")
PUBLIC = {"public_url": "https://mcp.example.com"}
YAMLLINT = """
extends: default
rules:
  line-length: disable
  document-start: disable
  truthy: {check-keys: false}
  comments: {min-spaces-from-content: 1}
  indentation: {indent-sequences: consistent}
"""


def lint(*command: str | Path, folder: Path) -> None:
    program, *arguments = map(str, command)
    done = subprocess.run(
        [str(BIN / program), *arguments], cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def load(path: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(path.read_text())
    return loaded


@pytest.fixture(
    params=[
        {},
        {"tunnel": "none"},
        PUBLIC | {"port": "9000", "project_name": "kitchen-helper"},
        {"description": "$HOME ${UNSET:?no} \"'\\ # : {{ }}"},
    ],
    ids=["defaults", "no tunnel", "public", "odd description"],
)
def project(request: pytest.FixtureRequest, render: Render) -> Path:
    return render(**request.param)


def test_the_dockerfile_passes_hadolint(project: Path) -> None:
    lint("hadolint", "Dockerfile", folder=project)


def test_compose_is_what_its_specification_asks(project: Path) -> None:
    lint(
        "check-jsonschema",
        *COMPOSE_SCHEMA,
        "compose.yml",
        folder=project,
    )


def test_yaml_files_pass_yamllint(project: Path) -> None:
    lint("yamllint", "--strict", "-d", YAMLLINT, ".", folder=project)


@pytest.mark.parametrize("whose", ["theirs", "ours"])
def test_the_workflows_pass_their_linters(render: Render, whose: str) -> None:
    folder = (ROOT if whose == "ours" else render()) / WORKFLOWS
    workflows = sorted(folder.iterdir())

    assert workflows
    schema = ["--builtin-schema", "vendor.github-workflows"]
    lint("check-jsonschema", *schema, *workflows, folder=folder)
    lint("zizmor", "--offline", "--pedantic", "--quiet", "--no-progress", *workflows, folder=folder)


@pytest.mark.parametrize("whose", ["theirs", "ours"])
def test_the_workflows_only_read_the_repository_and_know_no_secret(
    render: Render, whose: str
) -> None:
    workflows = sorted(((ROOT if whose == "ours" else render()) / WORKFLOWS).iterdir())

    assert workflows
    for workflow in workflows:
        text = workflow.read_text()
        assert yaml.safe_load(text)["permissions"] == {"contents": "read"}
        assert "contents: write" not in text
        assert "secrets." not in text
        assert "pull_request_target" not in text


def test_the_container_can_do_nothing_but_serve(project: Path) -> None:
    for service in load(project / "compose.yml")["services"].values():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert "privileged" not in service
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:")


def test_state_and_data_are_on_volumes_whose_names_do_not_depend_on_the_folder(
    render: Render,
) -> None:
    compose = load(render(project_name="kitchen-helper", package_name="recipes2") / "compose.yml")
    server = compose["services"]["server"]

    assert compose["name"] == "recipes2"
    assert {volume["name"] for volume in compose["volumes"].values()} == {
        "recipes2_state",
        "recipes2_data",
    }
    assert server["volumes"] == ["state:/state", "data:/data"]
    assert server["environment"]["MCP_STATE_DIR"] == "/state"
    assert server["environment"]["MCP_DATA_DIR"] == "/data"
    assert server["container_name"] == "kitchen-helper"


def test_the_port_is_the_same_everywhere(render: Render) -> None:
    project = render(port="9000")

    server = load(project / "compose.yml")["services"]["server"]

    assert server["ports"] == ["127.0.0.1:9000:9000"]
    assert server["environment"]["MCP_PORT"] == "9000"
    assert "9000" in server["healthcheck"]["test"][-1]
    assert "MCP_PORT=9000" in (project / "Dockerfile").read_text()
    assert "EXPOSE 9000" in (project / "Dockerfile").read_text()


def test_the_health_check_is_python_that_compiles(project: Path) -> None:
    test = load(project / "compose.yml")["services"]["server"]["healthcheck"]["test"]

    assert test[:3] == ["CMD", "python", "-c"]
    compile(test[3], "healthcheck", "exec")


def test_the_image_runs_as_a_fixed_user_without_what_builds_it(project: Path) -> None:
    text = (project / "Dockerfile").read_text()
    final = text[text.rindex("\nFROM ") :]

    assert "USER 10001:10001" in final
    assert "install -d -o 10001 -g 10001 -m 0700 /state /data" in final
    assert "uv" not in final.replace("uvicorn", "")
    assert "COPY pyproject.toml uv.lock* ./" in text
    assert "test -f uv.lock || uv lock" in text
    assert "uv sync --locked --no-dev" in text
    assert "PYTHONUNBUFFERED=1" in text
    assert "@sha256" not in text


def test_only_what_the_image_needs_is_sent_to_the_build(render: Render) -> None:
    lines = (render() / ".dockerignore").read_text().splitlines()

    sent = [line for line in lines if line.startswith("!")]

    assert "*" in lines
    assert sent == ["!pyproject.toml", "!uv.lock", "!src"]


def test_a_missing_env_file_is_no_error(render: Render) -> None:
    env_file = load(render() / "compose.yml")["services"]["server"]["env_file"]

    assert env_file == [{"path": ".env", "required": False}]


def test_the_dockerfile_shows_what_a_compose_override_has_to_say(
    project: Path, tmp_path: Path
) -> None:
    text = (project / "Dockerfile").read_text()
    shown = re.search(r"^#   (services: .*)$", text, re.MULTILINE)
    assert shown
    (tmp_path / "compose.override.yml").write_text(f"{shown[1]}\n")

    lint("check-jsonschema", *COMPOSE_SCHEMA, "compose.override.yml", folder=tmp_path)

    arguments = yaml.safe_load(shown[1])["services"]["server"]["build"]["args"]
    assert set(arguments) <= set(re.findall(r"^ARG (\w+)=", text, re.MULTILINE))
