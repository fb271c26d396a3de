"""What the program itself says: to a new owner, and after an update."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.update.releases import Releases, told


def test_the_command_updates_without_trust_and_says_what_to_do(project: Path) -> None:
    done = told(project, "update", "--defaults")

    assert done.returncode == 0, done.stderr
    for said in ("git grep -nE", "uv sync && uv run pytest", "uv run verify.py http://localhost"):
        assert said in done.stderr


def test_the_command_tells_a_new_owner_each_step(releases: Releases, tmp_path: Path) -> None:
    target = tmp_path / "my own server"

    done = subprocess.run(
        [sys.executable, "-m", "copier", "copy", "--defaults", str(releases.folder), str(target)],
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stderr
    steps = (
        f"cd '{target}'",
        "uv sync",
        "git init && git add -A && git commit",
        "uv run my-server",
        ".oauth-state/initial-password",
        "uv run verify.py http://localhost:8050",
        "http://localhost:8050/mcp",
    )
    positions = [done.stderr.index(step) for step in steps]
    assert positions == sorted(positions)
