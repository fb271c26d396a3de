"""A repository made from one copied file, and the document by which it becomes a project."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import secrets
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx

from tests.generate.project import GIT_ENVIRONMENT, ROOT, initialise
from tests.support.owner import Connection
from tests.support.process import MAIN, environment

EARLIER = Path(__file__).with_name("earlier")
CALLBACK = "http://localhost:1/callback"
PASSWORD = "a long password of the owner"
STEP = re.compile(r"^(?:\*\*(\d)\.|## (.+)$)", re.MULTILINE)

# What stands in, first on PATH, for programs that a test cannot use: they would fetch the template
# and the packages from the internet, or need an engine.
UVX = """\
#!{python}
# uvx copier: this environment's Copier, and the clone of this repository in place of GitHub's
import os, sys
arguments = [a.replace("gh:OWNER/copier-personal-mcp", "{template}") for a in sys.argv[1:]]
os.execv(sys.executable, [sys.executable, "-m", *arguments])
"""
UV = """\
#!{python}
# uv: this environment in place of the project's; a package is added to pyproject.toml as uv does
import os, sys
from pathlib import Path
os.environ["PYTHONPATH"] = os.path.abspath("src")
programs = {{"vault": ["-c", {main!r}], "verify.py": ["verify.py"]}}
if sys.argv[1:] == ["sync"]:
    Path("uv.lock").write_text("version = 1\\n")
elif sys.argv[1] == "add":
    mark, path = "  # ---- yours below this line ----\\n", Path("pyproject.toml")
    added = f'  "{{sys.argv[2]}}>=0.28",\\n'
    path.write_text(path.read_text().replace(mark, mark + added, 1))
else:
    assert sys.argv[1] == "run", sys.argv
    program = programs.get(sys.argv[2], ["-m", sys.argv[2]])
    os.execv(sys.executable, [sys.executable, *program, *sys.argv[3:]])
"""
DOCKER = """\
#!/bin/sh
# docker: the command that fills the server's volume runs here, with $VOLUME in place of /state
case "$*" in
"compose run --rm --no-deps -T server sh -c "*)
    shift 8; exec sh -c "$(echo "$1" | sed "s#/state#$VOLUME#g")" ;;
"compose build" | "compose up -d" | "compose exec server vault password") ;;
*) echo "unknown: $*" >&2; exit 1 ;;
esac
"""

# What a person edits in step 4, by the document's table.
TOOLS = [
    ("from fastmcp import FastMCP\nfrom starlette.responses import PlainTextResponse\n", ""),
    ("from personal_auth import PersonalAuthProvider\n", "from fastmcp.tools import tool\n"),
    ("@mcp.tool()\n", '@tool(annotations={"readOnlyHint": True})\n'),
    ("@mcp.tool\n", '@tool(annotations={"readOnlyHint": False})\n'),
    ("def vault_", "def "),
]
EXTEND = '''
    @server.resource("vault://names")
    def names() -> str:
        """The names of all texts."""
        return ", ".join(sorted(json.loads(FILE.read_text()))) if FILE.exists() else ""
'''


def commands(port: int) -> dict[str, list[str]]:
    """Returns the blocks of commands of each numbered step and section, for a server on a port."""
    text = (ROOT / "docs" / "adopting.md").read_text("utf-8")
    text = text.replace("https://mcp.example.com", f"http://localhost:{port}")
    parts = STEP.split(text.replace("8050", str(port)))
    steps = zip(parts[1::3], parts[2::3], parts[3::3], strict=True)
    return {
        number or title: re.findall(r"^```sh\n(.*?)^```$", part, re.MULTILINE | re.DOTALL)
        for number, title, part in steps
    }


def repository(folder: Path, port: int) -> Path:
    """Makes the earlier server's repository, with tests, a secret and notes of its owner's."""
    shutil.copytree(EARLIER, folder, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "dot-gitignore").rename(folder / ".gitignore")
    server = folder / "example_server.py"
    server.write_text(server.read_text().replace("8050", str(port)))
    (folder / "tests").mkdir()
    (folder / "tests/conftest.py").write_text(
        "import pytest\n\n\n@pytest.fixture\ndef mine():\n    return 1\n"
    )
    (folder / "tests/test_mine.py").write_text("def test_mine(mine):\n    assert mine == 1\n")
    (folder / ".env").write_text("WEATHER_API_KEY=a-secret\n")
    (folder / "secrets.txt").write_text("a secret\n")
    initialise(folder)
    return folder


def programs(folder: Path, template: Path) -> Path:
    """Makes the folder with what stands in for uv, uvx and docker."""
    folder.mkdir()
    values = {"python": sys.executable, "template": template, "main": MAIN}
    for name, text in {
        "uv": UV.format(**values),
        "uvx": UVX.format(**values),
        "docker": DOCKER,
    }.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    return folder


def walk(project: Path, programs: Path, block: str, stdin: str = "", **settings: str) -> str:
    """Runs a block of the document as a person pastes it; returns what it prints.

    Raises:
        AssertionError: The block ended with an error.
    """
    path = os.pathsep.join([str(programs), os.environ["PATH"]])
    done = subprocess.run(
        ["bash", "-euc", block],
        cwd=project,
        env=environment(project, PATH=path, **GIT_ENVIRONMENT, **settings),
        input=stdin,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


def move_tools(project: Path) -> None:
    """Edits what the document leaves to the person, as its table says."""
    path = project / "src/vault/tools/vault.py"
    text = path.read_text()
    for old, new in TOOLS:
        assert old in text, old
        text = text.replace(old, new)
    text = re.sub(r"^auth = .*?^\)\n", "", text, flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"\n\n\n@mcp\.resource.*\Z", "\n", text, flags=re.DOTALL)
    path.write_text(text)
    extend = project / "src/vault/extend.py"
    given = extend.read_text().replace(
        "from fastmcp import FastMCP\n",
        "import json\n\nfrom fastmcp import FastMCP\n\nfrom vault.tools.vault import FILE\n",
    )
    extend.write_text(given + EXTEND)
    told = "ALWAYS use the vault_ tools when the user asks to keep or find a text.\n"
    (project / "src/vault/instructions.md").write_text(told)
    (project / "ruff.toml").write_text('extend = "pyproject.toml"\nline-length = 120\n')


def ask(url: str) -> tuple[httpx.Response, dict[str, str]]:
    """Comes as a client without an owner; returns what /authorize answers and /token needs."""
    verifier = secrets.token_urlsafe(48)
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=")
    with httpx.Client(base_url=url, trust_env=False, timeout=30, verify=False) as client:
        registration = {"client_name": "Claude", "redirect_uris": [CALLBACK]}
        registration["token_endpoint_auth_method"] = "none"
        client_id = client.post("/register", json=registration).json()["client_id"]
        query = {
            "response_type": "code",
            "client_id": client_id,
            "redirect_uri": CALLBACK,
            "code_challenge": challenge.decode(),
            "code_challenge_method": "S256",
        }
        answer = client.get("/authorize", params=query)
    form = {"client_id": client_id, "code_verifier": verifier, "redirect_uri": CALLBACK}
    return answer, form


def connect(url: str) -> Connection:
    """Connects to the earlier server, which asks nobody."""
    answer, form = ask(url)
    code = parse_qs(urlsplit(answer.headers["location"]).query)["code"][0]
    form |= {"grant_type": "authorization_code", "code": code}
    with httpx.Client(trust_env=False, timeout=30, verify=False) as client:
        tokens = client.post(f"{url}/token", data=form).json()
    return Connection(url, form["client_id"], tokens["access_token"], tokens["refresh_token"])
