"""The MCP project's conformance suite: how it is run and what it came to.

Its program is minified; its source is github.com/modelcontextprotocol/conformance.
"""

from __future__ import annotations

import json
import re
import subprocess
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import yaml

from tests.clients.house import venv
from tests.support.programs import CLIENTS, need_client

SECONDS = 60
RESULTS = re.compile(r"(?:authorization-server|server)-(?P<scenario>.+)-\d{4}-\d\d-\d\dT[\d-]+Z\Z")
PACKAGE = CLIENTS / "node_modules/@modelcontextprotocol/conformance"


@dataclass(frozen=True)
class Check:
    """What the suite says of one requirement."""

    scenario: str
    id: str
    status: str
    message: str

    @property
    def name(self) -> str:
        """How it is written in a file of expected failures."""
        return f"{self.scenario}:{self.id}"

    def __str__(self) -> str:
        return f"{self.status} {self.name}  {self.message}"


@dataclass
class Outcome:
    """What a run of the suite came to."""

    code: int
    output: str
    checks: list[Check]

    def named(self, *statuses: str) -> set[str]:
        return {check.name for check in self.checks if check.status in statuses}

    @property
    def report(self) -> str:
        """Everything that did not succeed, then all that the suite printed."""
        notable = [str(check) for check in self.checks if check.status not in ("SUCCESS", "INFO")]
        return "\n".join([*notable, "", f"exit code {self.code}", self.output])


@dataclass(frozen=True)
class Expected:
    """What a run is known not to pass: some of the files `expected-failures-*.yml` as one.

    Attributes:
        file: The whole in the suite's own format.
        failures: What fails or is warned about, as `scenario:check`.
        skipped: What the suite leaves out, as `scenario:check`, or `scenario` where it looks at
            nothing; the suite itself does not read this list.
    """

    file: Path
    failures: set[str]
    skipped: set[str]

    @classmethod
    def read(cls, folder: Path, *names: str) -> Expected:
        lists: dict[str, list[str]] = {"server": [], "skipped": []}
        for name in names:
            source = Path(__file__).with_name(f"expected-failures-{name}.yml")
            for key, entries in yaml.safe_load(source.read_text()).items():
                lists[key] += entries
        file = folder / "expected-failures.yml"
        file.write_text(yaml.safe_dump(lists))
        return cls(file, set(lists["server"]), set(lists["skipped"]))


def required(revision: str) -> tuple[list[str], list[str]]:
    """Returns the scenarios that a revision scores, and those beside them that are no extension."""
    lists = yaml.safe_load((PACKAGE / f"requirements/{revision}.yaml").read_text())
    beside = [
        entry["scenario"]
        for entry in lists["not_scored"]
        if entry["leg"] == "server" and entry["reason"] != "extension"
    ]
    return lists["server"], beside


def check_server(
    url: str, revision: str, folder: Path, expected: Expected | None = None
) -> Outcome:
    """Runs every scenario that a revision requires of a server."""
    baseline = ["--expected-failures", str(expected.file)] if expected else []
    return _run(folder, ["server", "--url", url, "--requirements", revision, *baseline])


def check_authorization(
    issuer: str,
    client: dict[str, str],
    port: int,
    folder: Path,
    sign_in: Callable[[str], object],
) -> Outcome:
    """Runs both scenarios for an authorization server; `sign_in` is given the address to open."""
    secret = client.get("client_secret")
    arguments = ["authorization", "--url", issuer, "--resource", f"{issuer}/mcp"]
    arguments += ["--client-id", client["client_id"], "--port", str(port)]
    arguments += ["--client-secret", secret] if secret else []

    def opens(line: str) -> None:
        if line.startswith(f"{issuer}/authorize?"):
            sign_in(line)

    return _run(folder, arguments, opens)


def _run(folder: Path, arguments: list[str], saw: Callable[[str], object] = len) -> Outcome:
    program, results = need_client("conformance"), folder / "results"
    results.mkdir()
    command = [f"{venv()}/node", program, *arguments, "--output-dir", str(results)]
    lines = []
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        bound = threading.Timer(SECONDS, process.kill)
        bound.start()
        try:
            assert process.stdout
            for line in process.stdout:
                lines.append(line)
                saw(line.strip())
            code = process.wait()
        finally:
            bound.cancel()
            process.kill()
    return Outcome(code, "".join(lines), [*_checks(results)])


def _checks(results: Path) -> list[Check]:
    """Reads the results; a scenario that broke off has none, and that is a failure."""
    found = []
    for folder in sorted(results.iterdir()):
        match = RESULTS.match(folder.name)
        assert match, folder.name
        file = folder / "checks.json"
        broken = [{"id": "none", "status": "FAILURE", "errorMessage": "The scenario broke off."}]
        for check in json.loads(file.read_text()) if file.exists() else broken:
            found.append(
                Check(
                    match["scenario"],
                    check["id"],
                    check["status"],
                    str(check.get("errorMessage") or check.get("details") or ""),
                )
            )
    return found
