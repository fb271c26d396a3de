"""An update left no conflict in any file."""

import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LEFT_OUT = {".git", ".venv", "node_modules", "data", ".oauth-state", "__pycache__"}
MARKERS = (b"<<<<<<< ", b">>>>>>> ")


def project_files() -> list[Path]:
    try:
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            capture_output=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):  # no git, or not a repository
        found = (path for path in ROOT.rglob("*") if not LEFT_OUT & set(path.parts))
        return [path for path in found if path.is_file()]
    names = listed.stdout.decode().split("\0")
    return [ROOT / name for name in names if name and (ROOT / name).is_file()]


def has_marker(path: Path) -> bool:
    return any(line.startswith(MARKERS) for line in path.read_bytes().splitlines())


def test_no_file_holds_a_conflict_of_an_update() -> None:
    files = project_files()

    assert files
    assert [str(path.relative_to(ROOT)) for path in files if has_marker(path)] == []
