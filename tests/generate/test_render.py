"""Every set of answers leads to files that are complete, well-formed and already formatted."""

import json
import re
import runpy
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from fastmcp.decorators import get_fastmcp_meta
from fastmcp.tools.function_tool import ToolMeta

from personal_server import connect
from tests.generate.answer_sets import ANSWER_SETS, CHOICES, DEFAULTS, DESCRIPTIONS
from tests.generate.conftest import Render
from tests.generate.project import ROOT, contents, copy, files
from tests.support.process import environment

JINJA_MARKS = ("{{", "{%", "{#")


@pytest.fixture(params=ANSWER_SETS, ids=lambda name: name.replace(" ", "_"))
def answers(request: pytest.FixtureRequest) -> dict[str, Any]:
    return ANSWER_SETS[request.param]


@pytest.fixture
def project(answers: dict[str, Any], render: Render) -> Path:
    return render(**answers)


def run(*command: str, folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def description_of(answers: dict[str, Any]) -> str:
    return str(answers.get("description", DEFAULTS["description"]))


def test_no_jinja_is_left(project: Path, answers: dict[str, Any]) -> None:
    sources = (ROOT / "template").rglob("*")
    verbatim = {path.read_bytes() for path in sources if path.is_file() and path.suffix != ".jinja"}
    description = description_of(answers)
    quoted = json.dumps(description, ensure_ascii=False)[1:-1]
    spellings = [quoted.replace("$", "$$"), quoted, description, description.replace("'", "''")]

    for path, content in contents(project).items():
        text = content.decode()
        if content in verbatim:
            continue
        for spelling in spellings:
            text = text.replace(spelling, "")
        assert not [mark for mark in JINJA_MARKS if mark in text], path


def test_no_path_keeps_a_jinja_mark_or_its_suffix(project: Path) -> None:
    for path in files(project):
        assert "{" not in str(path)
        assert path.suffix != ".jinja"


def test_every_line_ends_cleanly(project: Path, answers: dict[str, Any]) -> None:
    for path, content in contents(project).items():
        assert b"\r" not in content, path
        assert content == b"" or content.endswith(b"\n"), path
        assert not content.endswith(b"\n\n"), path
        for line in content.decode().split("\n"):
            assert line == line.rstrip(), (path, line)


def test_structured_files_parse(project: Path) -> None:
    for path, content in contents(project).items():
        match path.suffix:
            case ".toml":
                tomllib.loads(content.decode())
            case ".yml" | ".yaml":
                assert yaml.safe_load(content)
            case ".json":
                json.loads(content)


def test_the_description_arrives_as_it_was_written(project: Path, answers: dict[str, Any]) -> None:
    description = description_of(answers)

    toml = tomllib.loads((project / "pyproject.toml").read_text("utf-8"))
    stored = yaml.safe_load((project / ".copier-answers.yml").read_text("utf-8"))
    compose = yaml.safe_load((project / "compose.yml").read_text("utf-8"))
    label = compose["services"]["server"]["labels"]["org.opencontainers.image.description"]
    server = json.loads((project / "src/personal_server/answers.json").read_text("utf-8"))

    assert toml["project"]["description"] == description
    assert stored["description"] == description
    assert label.replace("$$", "$") == description
    assert server["description"] == description
    assert f"\n{description}\n" in (project / "README.md").read_text("utf-8")
    assert f"\n{description}\n" in (project / "AGENTS.md").read_text("utf-8")


def test_the_description_is_in_no_python_file(render: Render) -> None:
    description = DESCRIPTIONS["a Jinja expression"]

    for path, content in contents(render(description=description)).items():
        assert path.suffix != ".py" or description.encode() not in content


def test_it_passes_its_own_linter_and_formatter(project: Path) -> None:
    run("ruff", "check", "--no-cache", "--quiet", ".", folder=project)
    run("ruff", "format", "--no-cache", "--check", "--quiet", ".", folder=project)


def test_the_server_is_told_the_answers(project: Path, answers: dict[str, Any]) -> None:
    stored = yaml.safe_load((project / ".copier-answers.yml").read_text("utf-8"))

    told = json.loads((project / "src/personal_server/answers.json").read_text("utf-8"))

    assert told["port"] == int(stored["port"])
    for name in told.keys() - {"port"}:
        assert told[name] == stored[name]
    for name, answer in answers.items():
        assert stored[name] == answer


def test_the_package_is_where_the_build_looks_for_it(project: Path) -> None:
    toml = tomllib.loads((project / "pyproject.toml").read_text("utf-8"))

    for module in toml["tool"]["uv"]["build-backend"]["module-name"]:
        assert (project / "src" / module / "__init__.py").is_file()


def test_only_the_chosen_examples_are_there(project: Path, answers: dict[str, Any]) -> None:
    chosen = answers.get("examples", DEFAULTS["examples"])
    package = answers.get(
        "package_name",
        answers.get("project_name", DEFAULTS["project_name"]).replace("-", "_"),
    )

    tools = {path.stem for path in (project / "src" / package / "tools").glob("*.py")}

    assert tools == {"__init__", *chosen}


def test_two_renders_are_identical(template: Path, render: Render, tmp_path: Path) -> None:
    copy(template, tmp_path / "my-server")

    assert contents(tmp_path / "my-server") == contents(render())


def test_the_defaults_are_what_the_documents_promise(render: Render) -> None:
    stored = yaml.safe_load((render() / ".copier-answers.yml").read_text())

    assert {name: stored[name] for name in DEFAULTS} == DEFAULTS
    assert stored["package_born"] == "my_server"


def test_readme_holds_no_answer_that_can_change(render: Render) -> None:
    here = render()
    there = render(
        public_url="https://mcp.example.com",
        port="9000",
        clients=["chatgpt"],
        tool_prefix="other",
        tunnel="none",
        examples=["notes"],
        github=False,
    )

    for path in ("README.md", *(f"src/my_server/{name}" for name in ("extend.py", "__init__.py"))):
        assert (here / path).read_bytes() == (there / path).read_bytes()
    assert (here / "src/my_server/instructions.md").read_bytes() == (
        there / "src/my_server/instructions.md"
    ).read_bytes()


def test_the_env_example_tells_verify_the_address(render: Render) -> None:
    lines = (render(public_url="https://mcp.example.com") / ".env.example").read_text().splitlines()

    active = [line for line in lines if line and not line.startswith("#")]

    # None: a line that was copied to .env would outlast the answer that it came from.
    assert active == []
    assert "#MCP_PUBLIC_URL=https://mcp.example.com" in lines


def test_clients_md_is_what_the_command_prints(project: Path, answers: dict[str, Any]) -> None:
    given = {**DEFAULTS, **answers}

    printed = connect.page(given["project_name"], given["public_url"], given["clients"])

    assert (project / "docs/clients.md").read_text("utf-8") == printed


def test_the_words_after_copying_are_on_the_clients_page() -> None:
    page = connect.page("my-server", "https://mcp.example.com", CHOICES["clients"])
    message = yaml.safe_load((ROOT / "copier.yml").read_text("utf-8"))["_message_after_copy"]
    message = message.replace("{{ project_name }}", "my-server")
    message = message.replace("{{ public_url }}", "https://mcp.example.com")

    said = dict(re.findall(r"^ {7}(Claude Code|mcp-remote|Cursor) +(.+)$", message, re.MULTILINE))

    assert f"\n{said['Claude Code']}\n" in page
    command, *arguments = said["mcp-remote"].split()
    assert f'"command": "{command}",\n' in page
    assert f'"args": {json.dumps(arguments)}\n' in page
    path, _, config = said["Cursor"].partition(": ")
    assert f"`{path}`" in page
    assert json.dumps(json.loads(config), indent=2) in page


def test_clients_md_has_the_steps_of_the_chosen_clients_only(render: Render) -> None:
    url = "https://mcp.example.com"

    text = (render(public_url=url, clients=["chatgpt"]) / "docs/clients.md").read_text()

    assert f"{url}/mcp" in text
    assert "## ChatGPT" in text
    assert "## Cursor" not in text
    assert "claude mcp add" not in text


def test_the_tool_in_agents_md_is_one_that_works(render: Render, tmp_path: Path) -> None:
    text = (render() / "AGENTS.md").read_text()
    example = text.split("```python\n")[1].split("```")[0]
    (tmp_path / "bookmarks.py").write_text(example)
    shutil.copy(render() / "pyproject.toml", tmp_path)
    run("ruff", "check", "--no-cache", "bookmarks.py", folder=tmp_path)
    run("ruff", "format", "--no-cache", "--check", "bookmarks.py", folder=tmp_path)

    module = runpy.run_path(str(tmp_path / "bookmarks.py"))

    marked = get_fastmcp_meta(module["bookmark"])
    assert isinstance(marked, ToolMeta)
    assert module["bookmark"].__doc__
    assert module["bookmark"]("https://example.com") == "Kept https://example.com."


def test_the_test_in_agents_md_is_one_that_passes(render: Render, tmp_path: Path) -> None:
    project = tmp_path / "project"
    shutil.copytree(render(), project)
    tool, example = [
        block.split("```")[0]
        for block in (project / "AGENTS.md").read_text().split("```python\n")[1:]
    ]
    (project / "src/my_server/tools/bookmarks.py").write_text(tool)
    (project / "tests/mine").mkdir(exist_ok=True)
    (project / "tests/mine/test_bookmarks.py").write_text(example)

    run("ruff", "check", "--no-cache", "tests/mine", folder=project)
    run("ruff", "format", "--no-cache", "--check", "tests/mine", folder=project)
    tests = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "tests/mine"]
    done = subprocess.run(
        tests, cwd=project, env=environment(project), capture_output=True, text=True
    )
    assert "1 passed" in done.stdout, done.stdout + done.stderr


def test_each_client_has_its_steps_on_the_clients_page(render: Render) -> None:
    text = (render(clients=["claude", "chatgpt", "cursor", "vscode", "local"])).joinpath(
        "docs/clients.md"
    )

    headings = [line[3:] for line in text.read_text().splitlines() if line.startswith("## ")]

    assert headings == [
        "Claude",
        "Claude Desktop with mcp-remote",
        "Claude Code",
        "ChatGPT",
        "Codex",
        "VS Code",
        "Cursor",
        "Gemini CLI",
        "MCP Inspector",
        "Other clients",
    ]
