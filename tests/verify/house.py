"""A real server that can be broken, and what verify.py says about it."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

from personal_verify import metadata
from tests.support.process import Running
from tests.support.site import PASSWORD, QUICK_HASH
from tests.verify.faults.making import Broken, Site
from tests.verify.proxy import Proxy


def state_of(proxy: Proxy) -> str:
    """Returns the name of a state directory that no other house has."""
    return f".state-{proxy.port}"


def start(project: Path, proxy: Proxy) -> Running:
    """Starts the server behind a proxy, on the port that the proxy asks, if it has one."""
    return Running(
        project,
        MCP_PORT=str(proxy.port_behind),
        MCP_STATE_DIR=state_of(proxy),
        MCP_PUBLIC_URL=proxy.url,
        MCP_PASSWORD=QUICK_HASH,
    )


@dataclass
class House:
    """A real server as a process, reached by the proxy that breaks it."""

    project: Path
    server: Running
    proxy: Proxy

    @property
    def url(self) -> str:
        return self.proxy.url

    @property
    def state(self) -> Path:
        return self.project / state_of(self.proxy)

    @property
    def connections(self) -> set[str]:
        """The ids of the live connections, as the state file has them."""
        state = json.loads((self.state / "oauth_tokens.json").read_text())
        return {key for key in state["rows"].get("grants", {}) if key != "epoch"}


@contextmanager
def housed(project: Path, proxy: Proxy) -> Iterator[House]:
    """Starts a server behind a proxy; ends both."""
    house = House(project, start(project, proxy), proxy)
    proxy.port_behind = house.server.port
    yield house
    house.server.stop()
    proxy.stop()


@dataclass
class Report:
    """What a run of verify.py came to."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        value: dict[str, Any] = json.loads(self.out)
        return value

    @property
    def checks(self) -> dict[str, dict[str, str]]:
        return {check["id"]: check for check in self.json["checks"]}

    def with_status(self, status: str) -> list[str]:
        return [name for name, check in self.checks.items() if check["status"] == status]


def without_settings(**settings: str) -> dict[str, str]:
    """Returns the environment without the settings of a server, with the given ones."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MCP_")}
    return {**kept, "COLUMNS": "80", "NO_COLOR": "1", "PYTHONIOENCODING": "utf-8", **settings}


def assert_only_fails(
    broken: Broken, house: House, verify: Callable[..., Report], *arguments: str, url: str = ""
) -> None:
    """Breaks the server, and asserts which checks say so: cause and cure, a sentence each."""
    before = house.connections
    house.proxy.fault = broken.make(Site(house.url, PASSWORD))

    with patch.object(metadata, "fetches_documents", lambda url: broken.public):
        report = verify(url or house.url, "--json", *arguments, MCP_PASSWORD=PASSWORD)

    failed = {name: report.checks[name]["detail"] for name in report.with_status("fail")}
    assert set(failed) == {broken.check, *broken.also}, failed
    assert report.code == 1
    assert report.json["ok"] is False
    assert_told(report, broken.check)
    left = house.connections - before
    assert bool(left) == broken.leaves, "what was granted is revoked"


def assert_told(report: Report, check: str) -> None:
    """Asserts that cause and cure of a failure are a sentence each."""
    for sentence in (report.checks[check]["detail"], report.checks[check]["cure"]):
        assert sentence.endswith("."), sentence
        assert not re.search(r"[.!?] [A-Z]", sentence), sentence
