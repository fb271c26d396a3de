"""What owners write: the examples are fine, and each mistake in a real server is noticed."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx2
import pytest

from tests.generate.project import ROOT, copy, snapshot
from tests.support import forks
from tests.support.process import Running
from tests.verify.house import PASSWORD, Report

ODD_TOOLS = '''
"""Tools with a mistake each."""

from __future__ import annotations

from typing import Annotated

from fastmcp.tools import tool
from pydantic import BaseModel, Field

READS = {"readOnlyHint": True}


class Part(BaseModel):
    """A part of a recipe, which may have parts."""

    name: str
    parts: list[Part] = []


@tool(annotations={"readOnlyHint": False})
def assemble(part: Annotated[Part, Field(description="What to put together.")]) -> str:
    """Puts a dish together from its parts. Use it when the user has named them all."""
    return part.name


@tool(annotations=READS)
def everything() -> str:
    """Gives all recipes of the family at once. Use it when the user wants to see them all."""
    return "a recipe " * 20_000


@tool(annotations=READS)
def cook(q: str) -> str:
    """Cook"""
    return q


@tool
def weigh(grams: Annotated[int, Field(description="How much.")]) -> int:
    """Weighs an ingredient. Use it when the user wants to know whether there is enough."""
    return grams


@tool("remembers_what_the_family_liked_and_disliked_about_each_recipe", annotations=READS)
def liked(dish: Annotated[str, Field(description="The dish.")]) -> str:
    """Tells what the family said of a dish. Use it before you suggest one."""
    return dish
'''
ODD_EXTENSION = '''
"""A tool that comes without the prefix."""

from fastmcp import FastMCP


def extend(server: FastMCP) -> None:
    @server.tool(annotations={"readOnlyHint": False})
    def shop() -> str:
        """Orders what is missing for a dish. Use it only when the user says so."""
        return "ordered"
'''
ODD_INSTRUCTIONS = "The recipes of the family, collected with love for many years."


# With sessions and event streams, as FastMCP serves unless it is told otherwise.
STATEFUL_SERVER = '''
from typing import Annotated

from fastmcp import FastMCP
from personal_auth import PersonalAuthProvider
from starlette.responses import PlainTextResponse

URL = "http://localhost:{port}"
server = FastMCP(
    "kitchen",
    instructions="Use the kitchen_ tools whenever the user cooks.",
    auth=PersonalAuthProvider(base_url=URL, password="{password}"),
)


@server.tool(annotations={{"readOnlyHint": True}})
def kitchen_count() -> int:
    """Counts the recipes of the family. Use it when the user asks how many there are."""
    return 7


@server.custom_route("/healthz", methods=["GET"])
async def healthz(request):
    return PlainTextResponse("ok")


server.run(transport="streamable-http", host="127.0.0.1", port={port}, show_banner=False)
'''


@pytest.fixture
def start() -> Iterator[Callable[..., Running]]:
    """Starts the server of a project."""
    started: list[Running] = []

    def run(project: Path, **settings: str) -> Running:
        started.append(Running(project, MCP_PASSWORD=PASSWORD, **settings))
        return started[-1]

    yield run
    for server in started:
        server.kill()


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return snapshot(tmp_path_factory.mktemp("template"))


@pytest.mark.parametrize(
    ("examples", "responses"), [(["hello"], "sse"), (["notes", "hello"], "json")]
)
def test_the_examples_have_no_fault(
    examples: list[str],
    responses: str,
    template: Path,
    start: Callable[..., Running],
    verify_here: Callable[..., Report],
    tmp_path: Path,
) -> None:
    project = tmp_path / "my-server"
    copy(template, project, examples=examples)

    report = verify_here(
        start(project, MCP_RESPONSES=responses).url, "--json", MCP_PASSWORD=PASSWORD
    )

    assert report.code == 0, report.out
    assert report.with_status("skip") == []


def test_each_mistake_of_an_owner_is_noticed_in_a_real_server(
    rendered: Path,
    start: Callable[..., Running],
    verify_here: Callable[..., Report],
    tmp_path: Path,
) -> None:
    project = tmp_path / "my-server"
    shutil.copytree(rendered, project, ignore=shutil.ignore_patterns(".state*", ".*state"))
    package = project / "src" / "my_server"
    (package / "tools" / "notes.py").write_text(ODD_TOOLS)
    (package / "extend.py").write_text(ODD_EXTENSION)
    (package / "instructions.md").write_text(ODD_INSTRUCTIONS)

    report = verify_here(start(project).url, "--json", MCP_PASSWORD=PASSWORD)

    told = {name: report.checks[name]["detail"] for name in report.with_status("fail")}
    assert set(told) == {
        "protocol.names",
        "protocol.prefix",
        "protocol.generic",
        "protocol.arguments",
        "protocol.directive",
        "protocol.schemas",
        "protocol.annotations",
        "protocol.result",
    }
    assert "remembers_what_the" in told["protocol.names"]
    assert "shop" in told["protocol.prefix"]
    assert "described only as 'Cook'" in told["protocol.generic"]
    assert "what q of myserver_cook is" in told["protocol.arguments"]
    assert "myserver_assemble refers to another schema" in told["protocol.schemas"]
    assert "myserver_weigh does not say" in told["protocol.annotations"]
    assert "myserver_everything gives about 45,000 tokens" in told["protocol.result"]


def test_a_server_that_demands_sessions_fails_in_this_alone(
    verify_here: Callable[..., Report], tmp_path: Path, unused_port: int
) -> None:
    script = tmp_path / "server.py"
    script.write_text(STATEFUL_SERVER.format(port=unused_port, password=PASSWORD))
    url = f"http://localhost:{unused_port}"
    with serving(script, url):
        report = verify_here(url, "--json", MCP_PASSWORD=PASSWORD)

    assert report.with_status("fail") == ["protocol.session"], report.out
    assert "stateless_http=True" in report.checks["protocol.session"]["cure"]


@contextmanager
def serving(script: Path, url: str) -> Iterator[None]:
    """Runs a script until the block ends, which begins when it answers."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "template" / "src")}
    with (script.parent / "log").open("wb") as log:
        process = forks.Popen(
            [sys.executable, script.name],
            cwd=script.parent,
            env={**environment, "FASTMCP_CHECK_FOR_UPDATES": "off"},
            stdout=log,
            stderr=log,
        )
    try:
        deadline = time.monotonic() + 60
        while not answers(url):
            assert process.poll() is None, (script.parent / "log").read_text()
            assert time.monotonic() < deadline, "it does not answer"
            time.sleep(0.05)
        yield
    finally:
        process.kill()
        process.wait()


def answers(url: str) -> bool:
    with suppress(httpx2.TransportError), httpx2.Client(trust_env=False, verify=False) as client:
        return client.get(f"{url}/healthz").status_code == 200
    return False
