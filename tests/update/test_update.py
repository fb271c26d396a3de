"""An update brings what is ours and leaves alone what is theirs."""

import shutil
import subprocess
import sys
from pathlib import Path

import copier
import pytest
import yaml

from tests.generate.conftest import Render
from tests.generate.project import commit_all, contents, copy, git, initialise, snapshot

OURS = "template/src/personal_server/__init__.py"
NEW_LINE = b"# new in this release\n"


@pytest.fixture(scope="module")
def releases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stand in for the repository with two releases; the second changes files of each class."""
    template = snapshot(tmp_path_factory.mktemp("releases"))
    git(template, "tag", "v0.0.1")
    for name in (OURS, "template/README.md.jinja", "template/docs/clients.md.jinja"):
        append(template / name)
    append(template / "template/src/{{package_name}}/extend.py")
    (template / "template/docs/new.md").write_text("# New\n")
    pyproject = template / "template/pyproject.toml.jinja"
    pyproject.write_text(pyproject.read_text().replace('"cryptography>=46"', '"cryptography>=47"'))
    commit_all(template)
    git(template, "tag", "v0.0.2")
    return template


@pytest.fixture
def project(releases: Path, tmp_path: Path) -> Path:
    """Stand in for a person's project that was made from the first release."""
    target = tmp_path / "my-server"
    copy(releases, target, vcs_ref="v0.0.1", description="Mine", project_name="kitchen-helper")
    initialise(target)
    return target


def append(path: Path, line: bytes = NEW_LINE) -> None:
    path.write_bytes(path.read_bytes() + line)


def update(project: Path, **answers: object) -> None:
    copier.run_update(
        project,
        data=answers,
        defaults=True,
        overwrite=True,
        quiet=True,
        unsafe=False,
        settings=copier.Settings(),
    )


def stored(project: Path) -> dict[str, object]:
    answers: dict[str, object] = yaml.safe_load((project / ".copier-answers.yml").read_text())
    return answers


def test_an_untouched_project_becomes_what_a_fresh_copy_is_except_its_seeds(
    releases: Path, project: Path, tmp_path: Path
) -> None:
    before = contents(project)
    copy(
        releases,
        tmp_path / "fresh",
        vcs_ref="v0.0.2",
        description="Mine",
        project_name="kitchen-helper",
    )

    update(project)

    seeds = {path for path in before if path.parts[:2] == ("src", "kitchen_helper")}
    seeds.add(Path("README.md"))
    after, fresh = contents(project), contents(tmp_path / "fresh")
    assert {path: after[path] for path in after.keys() - seeds} == {
        path: fresh[path] for path in fresh.keys() - seeds
    }
    assert {path: after[path] for path in seeds} == {path: before[path] for path in seeds}
    assert Path("docs/new.md") in after


def test_the_answers_are_kept(project: Path) -> None:
    before = stored(project)

    update(project)

    assert stored(project) == before | {"_commit": "v0.0.2"}


def test_an_edited_seed_keeps_its_edits(project: Path) -> None:
    edited = [project / "README.md", project / "src/kitchen_helper/instructions.md"]
    for path in edited:
        path.write_text("Only this.\n")
    commit_all(project)

    update(project)

    assert [path.read_text() for path in edited] == ["Only this.\n"] * 2


def test_a_deleted_seed_stays_deleted(project: Path) -> None:
    shutil.rmtree(project / "src/kitchen_helper/tools")
    (project / "src/kitchen_helper/extend.py").unlink()
    (project / "README.md").unlink()
    commit_all(project)

    update(project)

    assert not (project / "README.md").exists()
    assert not (project / "src/kitchen_helper/extend.py").exists()
    assert not list(project.glob("src/kitchen_helper/tools/*"))


def test_a_file_of_their_own_is_not_touched(project: Path) -> None:
    theirs = [project / "src/kitchen_helper/tools/mine.py", project / "compose.override.yml"]
    for path in theirs:
        path.write_text("# mine\n")
    commit_all(project)

    update(project)

    assert [path.read_text() for path in theirs] == ["# mine\n"] * 2


def test_what_they_added_to_shared_files_merges_without_a_conflict(project: Path) -> None:
    pyproject = project / "pyproject.toml"
    line = "  # ---- yours below this line ----\n]\n\n[project.scripts]"
    assert line in pyproject.read_text()
    pyproject.write_text(
        pyproject.read_text().replace(line, line.replace("]\n\n", '  "httpx>=0.28",\n]\n\n'))
        + '\n[tool.mine]\nkey = "value"\n'
    )
    append(project / ".gitignore", b"/mine/\n")
    append(project / ".dockerignore", b"!mine\n")
    commit_all(project)

    update(project)

    merged = pyproject.read_text()
    assert "<<<<<<<" not in merged
    assert '"cryptography>=47",\n  # ---- yours below this line ----\n  "httpx>=0.28",' in merged
    assert merged.endswith('[tool.mine]\nkey = "value"\n')
    assert (project / ".gitignore").read_text().endswith("/mine/\n")
    assert (project / ".dockerignore").read_text().endswith("!mine\n")


def test_a_conflict_is_found_by_the_command_that_the_message_names(
    releases: Path, project: Path
) -> None:
    path = project / "src/personal_server/__init__.py"
    append(path, b"# mine\n")
    commit_all(project)

    update(project)

    command = ["grep", "-nE", "^(<<<<<<<|>>>>>>>) "]
    found = git(project, *command)
    assert found.count("src/personal_server/__init__.py") == 2
    assert " ".join(command[:2]) in (releases / "copier.yml").read_text()


def test_an_answer_can_be_changed_without_a_new_release(project: Path) -> None:
    update(project)
    commit_all(project)

    update(project, public_url="https://mcp.example.com")

    assert stored(project)["public_url"] == "https://mcp.example.com"
    assert "https://mcp.example.com/mcp" in (project / "docs/clients.md").read_text()


def test_the_package_keeps_its_name(project: Path) -> None:
    before = contents(project)

    with pytest.raises(ValueError, match="Try kitchen_helper: the package keeps the name"):
        update(project, package_name="another")

    assert contents(project) == before


def test_a_renamed_project_keeps_its_package(project: Path) -> None:
    update(project, project_name="chef")

    assert stored(project)["project_name"] == "chef"
    assert stored(project)["package_name"] == "kitchen_helper"
    assert not (project / "src/chef").exists()


def test_a_package_name_changed_by_hand_is_put_back(project: Path) -> None:
    path = project / ".copier-answers.yml"
    answers = path.read_text().replace("package_name: kitchen_helper", "package_name: another")
    path.write_text(answers)

    copier.run_recopy(
        project, defaults=True, overwrite=True, quiet=True, settings=copier.Settings()
    )

    assert stored(project)["package_name"] == "kitchen_helper"
    assert not (project / "src/another").exists()


def test_a_recopy_overwrites_what_is_ours_and_keeps_what_is_theirs(project: Path) -> None:
    (project / "README.md").write_text("Mine.\n")
    append(project / "Dockerfile")

    copier.run_recopy(
        project, defaults=True, overwrite=True, quiet=True, settings=copier.Settings()
    )

    assert (project / "README.md").read_text() == "Mine.\n"
    assert NEW_LINE not in (project / "Dockerfile").read_bytes()


def test_examples_that_are_chosen_later_change_nothing(project: Path) -> None:
    update(project, examples="[hello]")

    tools = {path.name for path in (project / "src/kitchen_helper/tools").iterdir()}
    assert tools == {"__init__.py", "notes.py"}


def test_the_command_updates_without_trust_and_says_what_to_do(project: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "copier", "update", "--defaults"],
        cwd=project,
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stderr
    for said in ("git grep -nE", "uv sync && uv run pytest", "uv run verify.py http://localhost"):
        assert said in done.stderr


def test_the_command_tells_a_new_owner_each_step(releases: Path, tmp_path: Path) -> None:
    target = tmp_path / "my own server"

    done = subprocess.run(
        [sys.executable, "-m", "copier", "copy", "--defaults", str(releases), str(target)],
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


def test_a_fresh_project_is_a_clean_repository(render: Render, tmp_path: Path) -> None:
    project = tmp_path / "my-server"
    shutil.copytree(render(), project)
    initialise(project)
    for name in (".env", ".oauth-state/oauth_tokens.json", "data/notes.sqlite3"):
        (project / name).parent.mkdir(exist_ok=True)
        (project / name).touch()

    assert git(project, "status", "--porcelain") == ""
