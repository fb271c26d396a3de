"""What the program itself says to a new owner."""

import sys
from pathlib import Path

from tests.support import forks


def test_the_command_tells_a_new_owner_each_step(template: Path, tmp_path: Path) -> None:
    target = tmp_path / "my own server"

    done = forks.run(
        [sys.executable, "-m", "copier", "copy", "--defaults", str(template), str(target)]
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
