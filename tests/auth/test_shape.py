"""Rules of the vendored module's structure that a later change must not lose."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "template" / "src"
MODULES = sorted((FOLDER / "personal_auth").glob("*.py"))
FREE_OF_FRAMEWORKS = {
    "addresses",
    "adoption",
    "audit",
    "background",
    "challenges",
    "client",
    "clients",
    "codes",
    "connections",
    "control",
    "documents",
    "errors",
    "firststart",
    "grants",
    "identity",
    "keyring",
    "limits",
    "moments",
    "moving",
    "opening",
    "owner",
    "ownerview",
    "passkeys",
    "plan",
    "postgres_store",
    "readiness",
    "records",
    "redirects",
    "redis_store",
    "registration",
    "remote",
    "scopes",
    "sealing",
    "seen",
    "service",
    "sessions",
    "shared",
    "snapshot",
    "statedir",
    "store",
    "throttle",
    "trail",
    "trailfile",
    "trailread",
    "version",
    "writing",
}


def imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


@pytest.mark.parametrize("path", [p for p in MODULES if p.stem in FREE_OF_FRAMEWORKS], ids=str)
def test_the_logic_knows_no_web_framework(path: Path) -> None:
    roots = {name.partition(".")[0] for name in imports(path)}

    assert not roots & {"fastmcp", "mcp", "starlette", "uvicorn", "pydantic"}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_few_modules_know_fastmcp(path: Path) -> None:
    roots = {name.partition(".")[0] for name in imports(path)}

    knowing = {"provider", "outside", "calls", "reading"}
    assert path.stem in knowing or not roots & {"fastmcp", "mcp"}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_only_one_module_knows_the_package_of_passkeys(path: Path) -> None:
    assert path.stem == "passkeys" or not [n for n in imports(path) if n.startswith("webauthn")]


def test_dependencies_point_one_way() -> None:
    graph = {
        path.stem: {
            name.removeprefix("personal_auth.")
            for name in imports(path)
            if name.startswith("personal_auth.")
        }
        for path in MODULES
        if path.stem != "__init__"
    }

    while leaves := [name for name, needs in graph.items() if not needs & graph.keys()]:
        for name in leaves:
            del graph[name]
    assert graph == {}, "these modules import each other in a circle"


@pytest.mark.parametrize("path", sorted(FOLDER.rglob("*.py")), ids=lambda path: path.name)
def test_no_middleware_stands_between_a_stream_and_its_client(path: Path) -> None:
    assert "BaseHTTPMiddleware" not in path.read_text()


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_secrets_are_compared_in_one_place(path: Path) -> None:
    assert path.stem == "sealing" or "compare_digest" not in path.read_text()


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_the_slow_cookie_parser_of_the_standard_library_is_not_used(path: Path) -> None:
    assert ".cookies" not in path.read_text()
