from __future__ import annotations

import compileall
import socket
from collections import Counter
from collections.abc import Generator
from pathlib import Path

import pytest

from personal_auth import audit
from tests.generate.project import copy, snapshot
from tests.support import memory

# Take long with few tests, the longest first.
LONG = (
    *("update/test_lived_in", "auth/test_deaths", "auth/test_flood", "clients/test_hosted"),
    *("journeys/test_journeys", "clients/test_mcp_remote", "update/test_connected"),
    *("clients/test_node_clients", "clients/test_python_clients", "update/test_conflicts"),
    *("update/test_adopting", "update/test_formats", "update/test_property", "test_workshop"),
    *("conformance/test_server", "conformance/test_authorization", "auth/test_wire"),
    *("auth/test_grants_hammer", "verify/test_own_tools", "verify/test_browser_mode"),
)
# Ask personal_auth the same very often, or ask it in processes of their own.
UNMEASURED = {
    *("auth/test_deaths", "auth/test_flood", "auth/test_fuzz", "auth/test_grants_hammer"),
    *("auth/test_grants_model", "auth/test_wire"),
}
HERE = Path(__file__).parent

memory.keep_temporary_files()


def module_of(item: pytest.Item) -> str:
    return item.path.relative_to(HERE).with_suffix("").as_posix()


def is_measured(module: str) -> bool:
    """Tells whether the tests of a module prove personal_auth in this process."""
    return module == "server/test_settings" or (
        module.startswith("auth/") and module not in UNMEASURED
    )


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Pauses coverage where it would find nothing new: Python takes two thirds longer under it."""
    plugin = item.config.pluginmanager.getplugin("_cov")
    coverage = getattr(plugin, "cov_controller", None)
    if coverage is None or is_measured(module_of(item)):
        return (yield)
    coverage.pause()
    try:
        return (yield)
    finally:
        coverage.resume()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Lets the modules that take longest begin first, so that no worker waits long for the last."""

    def rank(module: str) -> int:
        return LONG.index(module) if module in LONG else len(LONG)

    modules = [module_of(item) for item in items]
    tests = Counter(modules)
    order = sorted(tests, key=lambda module: (rank(module), -tests[module]))
    places = {module: place for place, module in enumerate(order)}
    by_module = sorted(zip(modules, items, strict=True), key=lambda pair: places[pair[0]])
    items[:] = [item for _, item in by_module]


@pytest.fixture(autouse=True)
def _nothing_held_back() -> None:
    """Lets each test see its own log lines, however many came before it in this minute."""
    audit.budgets.update({event: audit.Budget() for event in audit.budgets})


@pytest.fixture
def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="session")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with the default answers; not to be changed."""
    project = tmp_path_factory.mktemp("rendered") / "my-server"
    copy(snapshot(tmp_path_factory.mktemp("template")), project)
    compileall.compile_dir(project / "src", quiet=1)  # once, and not at each first start of a copy
    return project
