"""Git that turns line endings into those of Windows does not come between a project and updates."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.generate.project import copy, git, initialise
from tests.update.releases import THIS, Releases, append, conflicts, update
from tests.update.trees import tree

TOOLS = "src/kitchen_helper/tools"
LATER = (
    append("template/Dockerfile.jinja", "# later\n"),
    append("template/src/personal_auth/grants.py", "# later\n"),
)


@pytest.fixture
def _autocrlf(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sets core.autocrlf for every git that is started, as Git for Windows does."""
    for name, value in (("COUNT", "1"), ("KEY_0", "core.autocrlf"), ("VALUE_0", "true")):
        monkeypatch.setenv(f"GIT_CONFIG_{name}", value)


@pytest.fixture(scope="module")
def later(releases: Releases) -> str:
    return releases.release("v9.0.0", *LATER)


def with_crlf(path: Path) -> bytes:
    """Saves a file as an editor on Windows does; returns what it held."""
    before = path.read_bytes()
    path.write_bytes(before.replace(b"\n", b"\r\n"))
    return before


@pytest.mark.usefixtures("_autocrlf")
def test_a_project_on_windows_is_updated_without_a_conflict(
    releases: Releases, later: str, tmp_path: Path
) -> None:
    made, project, fresh = tmp_path / "made", tmp_path / "my-server", tmp_path / "fresh"
    copy(releases.folder, made, vcs_ref=THIS, project_name="kitchen-helper")
    initialise(made)
    (made / TOOLS / "mine.py").write_bytes(b'"""Mine."""\r\n')
    with (made / "pyproject.toml").open("a", encoding="utf-8") as pyproject:
        pyproject.write("\n[tool.mine]\n")
    git(made, "add", "-A")
    git(made, "commit", "-q", "-m", "Mine")
    git(tmp_path, "clone", "-q", str(made), str(project))
    saved = ("pyproject.toml", "Dockerfile", f"{TOOLS}/notes.py")
    held = {name: with_crlf(project / name) for name in saved}
    (project / TOOLS / "mine.py").write_bytes(b'"""Mine."""\r\n')
    git(project, "add", "--renormalize", ".")
    assert git(project, "status", "--porcelain") == ""

    update(project)

    copy(releases.folder, fresh, vcs_ref=later, project_name="kitchen-helper")
    after = tree(project)
    notes, mine = after.pop(f"{TOOLS}/notes.py"), after.pop(f"{TOOLS}/mine.py")
    assert notes.content == held[f"{TOOLS}/notes.py"].replace(b"\n", b"\r\n")
    assert mine.content == b'"""Mine."""\r\n'
    assert after.pop("pyproject.toml").content == held["pyproject.toml"]
    assert after == {name: item for name, item in tree(fresh).items() if name in after}
    assert conflicts(project) == []
    assert b"\r" not in b"".join(entry.content for entry in after.values())
