"""What a person makes of their project: in every place that is theirs, and in what both share."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from tests.generate.project import git
from tests.update.releases import commit
from tests.update.trees import Tree, tree

ANSWERS = {"project_name": "kitchen-helper", "examples": ["notes", "hello"]}
PACKAGE = "src/kitchen_helper"
LINE = "  # ---- yours below this line ----\n"

TOOL = '''"""What is cooked."""

from fastmcp.tools import tool


@tool("cook", description="Says what is cooked today.", annotations={"readOnlyHint": True})
def cook() -> str:
    return "Soup, with quotes: '\\"' and an umlaut: ü"
'''

THEIR_TOOL_IN_NOTES = """

@tool("forget", description="Forgets nothing.", annotations={"readOnlyHint": True})
def forget() -> str:
    return "Nothing was forgotten."
"""

EXTEND = '''"""A page of my own."""

from fastmcp import FastMCP
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response


def extend(server: FastMCP) -> None:
    @server.custom_route("/menu", methods=["GET"])
    async def menu(request: Request) -> Response:
        return PlainTextResponse("soup")
'''

CONFTEST = """import pytest


@pytest.fixture
def spoon() -> str:
    return "spoon"
"""

# Their ruff.toml alone allows a line that long, their pytest.ini alone the mark `slow`.
THEIR_TESTS = """import iniconfig
import pytest
from starlette.testclient import TestClient

from kitchen_helper.tools.recipes import cook


@pytest.mark.slow
def test_my_tool_with_my_fixture(spoon: str) -> None:
    assert spoon == "spoon" and "Soup" in cook() and iniconfig.IniConfig, "LONG"


def test_my_page_with_your_fixture(client: TestClient) -> None:
    assert client.get("/menu").text == "soup"
"""

FILES = {
    "README.md": "# The kitchen\n\nNothing of the template is left here.\n",
    f"{PACKAGE}/tools/recipes.py": TOOL,
    f"{PACKAGE}/extend.py": EXTEND,
    f"{PACKAGE}/instructions.md": "Only ever speak of soup.\n",
    f"{PACKAGE}/recipes/sauces.txt": "béchamel\r\nvelouté\r\n",
    "tests/mine/conftest.py": CONFTEST,
    "tests/mine/test_mine.py": THEIR_TESTS,
    "pytest.ini": "[pytest]\ntestpaths = tests\naddopts = --strict-markers\nmarkers = slow: mine\n",
    "ruff.toml": 'extend = "pyproject.toml"\nline-length = 110\n',
    ".github/workflows/mine.yml": "name: mine\non: push\njobs: {}\n",
    "compose.override.yml": "services:\n  server:\n    environment:\n      MCP_LOG_FORMAT: json\n",
    "docs/my notes.md": "Beside your pages.\n",
    "deploy/my-proxy/Caddyfile": "mcp.example.com\n",
    "uv.lock": "version = 1\n",
    "scripts/backup.sh": "#!/bin/sh\ncp -r data /backup\n",
}

IGNORED = {
    ".env": "MCP_PASSWORD='a long sentence of mine'\nMCP_PUBLIC_URL=https://mcp.example.com\n",
    ".oauth-state/oauth_tokens.json": "{}\n",
    "data/notes.sqlite3": "not really\n",
    "deploy/cloudflared/3f1c.json": '{"TunnelSecret": "mine"}\n',
}

DELETED = (f"{PACKAGE}/tools/hello.py", ".github/workflows/tests.yml")  # an example, a file of ours

OWN_LINES = {"dependencies": '  "iniconfig>=2",', "dev": '  "pytest-cov>=5",'}
TABLES = '\n[tool.mine]\nkey = "value"\n\n[[tool.mine.list]]\nname = "ü"\n'


def settle(project: Path) -> Tree:
    """Lives in a project that has both examples; returns all that is theirs alone."""
    for name, text in {**FILES, **IGNORED}.items():
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(text, "utf-8", newline="")
    (project / "scripts/backup.sh").chmod(0o755)
    (project / "recipes").symlink_to(f"{PACKAGE}/recipes")
    with (project / PACKAGE / "tools/notes.py").open("a", encoding="utf-8") as notes:
        notes.write(THEIR_TOOL_IN_NOTES)
    for name in DELETED:
        (project / name).unlink()
    _share(project)
    subprocess.run([sys.executable, "-m", "ruff", "format", "-q", "."], cwd=project, check=True)
    commit(project, "All that is mine")
    assert git(project, "status", "--porcelain") == ""
    theirs = {*FILES, *IGNORED, "recipes", f"{PACKAGE}/tools/notes.py"}
    return {name: entry for name, entry in tree(project).items() if name in theirs}


def _share(project: Path) -> None:
    pyproject = project / "pyproject.toml"
    text = pyproject.read_text("utf-8")
    for key, line in OWN_LINES.items():
        before, marked, after = text.partition(f"\n{key} = [\n")
        assert marked, key
        ours, sentinel, theirs = after.partition(LINE)
        text = "".join([before, marked, ours, sentinel, f"{line}\n", theirs])
    pyproject.write_text(text + TABLES, "utf-8")
    for name, line in ((".gitignore", "/backup/\n"), (".dockerignore", "!recipes\n")):
        with (project / name).open("a", encoding="utf-8") as file:
            file.write(line)


def shared(fresh: Path) -> dict[str, str]:
    """Returns what the shared files hold once these lines are added to a fresh copy's."""
    together = fresh.parent / "together"
    together.mkdir()
    for name in ("pyproject.toml", ".gitignore", ".dockerignore"):
        shutil.copy(fresh / name, together)
    _share(together)
    return {path.name: path.read_text("utf-8") for path in together.iterdir()}
