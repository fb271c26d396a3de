"""`my-server doctor`, and what the server says of changed files when it starts."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.generate.project import git, initialise
from tests.support.process import Running, command
from tests.support.programs import free_port

OURS = "src/personal_auth/owner.py"


@pytest.fixture
def committed(project: Path) -> Path:
    initialise(project)
    return project


def append(project: Path, path: str, text: str = "# mine\n") -> None:
    with (project / path).open("a", newline="") as file:
        file.write(text)


def examined(project: Path, **settings: str) -> tuple[int, list[str], str]:
    """Returns the exit code, what is to be mended, and all that was said."""
    done = command(project, "doctor", **settings)
    assert done.stderr == ""
    faults = [line for line in done.stdout.splitlines() if line.startswith("TO MEND: ")]
    return done.returncode, [fault.removeprefix("TO MEND: ") for fault in faults], done.stdout


def test_a_fresh_project_is_in_order(committed: Path) -> None:
    code, faults, said = examined(committed)

    assert (code, faults) == (0, [])
    assert "ok: no file that the template keeps current was changed here\n" in said
    assert "ok: 6 tools in src/my_server\n" in said
    assert "ok: in X-Forwarded-For it believes 127.0.0.1, ::1\n" in said
    assert said.endswith("All is in order here; verify.py looks from outside.\n")


def test_a_server_with_an_address_has_to_know_what_stands_before_it(committed: Path) -> None:
    answers = committed / "src/personal_server/answers.json"
    answers.write_text(answers.read_text().replace('"cloudflared"', '"none"'))
    public = {"MCP_PUBLIC_URL": "https://mcp.example.com"}

    _, unnamed, said = examined(committed, **public)
    _, named, _ = examined(committed, **public, MCP_TRUSTED_PROXIES="127.0.0.1")

    fault = "nobody is named whose X-Forwarded-For it may believe"
    assert fault in unnamed
    assert fault not in named
    assert "Name what leads https://mcp.example.com to this server in MCP_TRUSTED_PROXIES" in said


def test_an_address_of_this_computer_that_is_not_the_servers_is_named(committed: Path) -> None:
    stale = {"MCP_PUBLIC_URL": "http://localhost:9999"}

    code, _, said = examined(committed, **stale)
    _, in_a_container, _ = examined(committed, **stale, MCP_REQUIRE_VOLUMES="true")
    _, with_its_port, _ = examined(committed, **stale, MCP_PORT="9999")

    assert code == 1
    assert (
        "MCP_PUBLIC_URL, in .env or the environment, is http://localhost:9999, and the server"
        " listens at http://localhost:8050: remove the setting."
    ) in said
    assert in_a_container == with_its_port == []


def test_it_opens_no_state(committed: Path) -> None:
    examined(committed)

    assert not (committed / ".oauth-state").exists()
    assert not (committed / "data").exists()


def test_what_is_theirs_may_change(committed: Path) -> None:
    for path in ("README.md", "CLAUDE.md", "pyproject.toml", ".gitignore", ".dockerignore"):
        append(committed, path)
    append(committed, "src/my_server/tools/notes.py")
    (committed / "src/my_server/extend.py").unlink()

    assert examined(committed)[:2] == (0, [])


def test_a_changed_file_of_the_templates_is_named_with_what_brings_it_back(
    committed: Path,
) -> None:
    append(committed, OURS)
    append(committed, "docs/clients.md")

    code, faults, said = examined(committed)

    assert (code, faults) == (1, ["files that the template keeps current were changed here:"])
    assert f"\n    docs/clients.md\n    {OURS}\n" in said
    assert "\n    uvx copier recopy --defaults --overwrite --vcs-ref :current: -x '*' -x" in said
    assert f"-x '!/docs/clients.md' -x '!/{OURS}'\n" in said
    assert said.endswith("1 to mend.\n")


def test_line_endings_of_windows_are_no_change(committed: Path) -> None:
    for path in (OURS, "Dockerfile", "docs/clients.md"):
        file = committed / path
        file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n"))

    assert examined(committed)[:2] == (0, [])


def test_a_conflict_is_named_apart_from_other_changes(committed: Path) -> None:
    conflict = "<<<<<<< before updating\na\n=======\nb\n>>>>>>> after updating\n"
    append(committed, "compose.yml", conflict)
    append(committed, ".gitignore", conflict)
    append(committed, "Dockerfile")

    _, faults, said = examined(committed)

    assert faults == [
        "an update left two versions of the same lines:",
        "files that the template keeps current were changed here:",
    ]
    assert "same lines:\n    .gitignore\n    compose.yml\n    docs/troubleshooting.md" in said
    assert "changed here:\n    Dockerfile\n    An update" in said


@pytest.mark.parametrize(
    ("settings", "fault", "sentence"),
    [
        ({"MCP_PORT": "soon"}, "the settings are refused", "MCP_PORT is refused: write a whole"),
        (
            {"MCP_PUBLIC_URL": "https://mcp.example.com"},
            "the public URL is not the one in docs/ and deploy/",
            '--data public_url="https://mcp.example.com"',
        ),
    ],
    ids=["refused", "another address"],
)
def test_settings_that_are_wrong_are_told_with_their_cure(
    committed: Path, settings: dict[str, str], fault: str, sentence: str
) -> None:
    code, faults, said = examined(committed, **settings)

    assert code == 1
    assert len(faults) == 1
    assert faults[0].startswith(fault)
    assert sentence in said


def test_a_tool_that_stops_the_start_is_told(committed: Path) -> None:
    append(committed, "src/my_server/tools/notes.py", "import nothing_like_it\n")

    _, faults, said = examined(committed)

    assert faults == ["the tools are refused, and the server does not start"]
    assert "src/my_server/tools/notes.py cannot be imported: ModuleNotFoundError" in said


def test_lines_that_an_update_put_aside_are_named(committed: Path) -> None:
    append(committed, "pyproject.toml.rej", "@@ -1 +1 @@\n")

    _, faults, said = examined(committed)

    assert faults == ["an update found no place for lines of yours:"]
    assert "\n    pyproject.toml.rej\n    Put the lines" in said


def test_code_of_the_templates_that_is_gone_is_brought_back_and_the_rest_named(
    committed: Path,
) -> None:
    for path in ("src/personal_verify/grant.py", "docs/clients.md", "compose.yml"):
        (committed / path).unlink()

    _, faults, said = examined(committed)

    assert faults == ["code of the template is gone:"]
    assert "-x '*' -x '!/src/personal_verify/grant.py'\n" in said
    assert (
        "ok: deleted here, and left so by an update:\n    compose.yml\n    docs/clients.md" in said
    )


@pytest.mark.parametrize("state", ["in conflict", "gone", "no text"])
def test_a_list_that_is_damaged_stops_neither_the_start_nor_the_doctor(
    committed: Path, run: Callable[..., Running], state: str
) -> None:
    listing = committed / "src/personal_server/shipped.sha256"
    match state:
        case "in conflict":
            listing.write_text(
                f"<<<<<<< before updating\n=======\n{listing.read_text()}>>>>>>> a\n"
            )
        case "gone":
            listing.unlink()
        case _:
            listing.write_bytes(b"\xff\xfe\x00")

    code, faults, said = examined(committed)

    assert code == 1
    assert len(faults) == 1
    assert "src/personal_server/shipped.sha256" in said
    assert run().log.count("WARNING") == 1  # of the password that was made


def test_a_project_without_a_commit_is_told_to_make_one(project: Path) -> None:
    subprocess.run(["git", "init", "-q"], cwd=project, check=True)

    _, faults, said = examined(project)

    assert faults == ["git shows no commit here, and an update needs one to start from"]
    assert "git init && git add -A && git commit" in said


def test_a_computer_without_git_is_told_to_install_it(committed: Path) -> None:
    _, faults, _ = examined(committed, PATH="/nowhere")

    assert faults == ["git is not here, and an update needs it"]


def test_a_git_that_hides_new_files_is_told_to_show_them(committed: Path) -> None:
    git(committed, "config", "status.showUntrackedFiles", "no")

    _, faults, said = examined(committed)

    assert faults == [
        "git does not show new files here, so an update may lose lines without a conflict"
    ]
    assert "\n    git config status.showUntrackedFiles normal\n" in said


def test_an_image_which_holds_src_alone_is_in_order(project: Path, tmp_path: Path) -> None:
    image = tmp_path / "app"
    shutil.copytree(project / "src", image / "src")
    shutil.copy(project / "pyproject.toml", image)

    assert examined(image)[:2] == (0, [])

    append(image, OURS)

    assert examined(image)[:2] == (1, ["files that the template keeps current were changed here:"])


def test_the_start_names_what_was_changed(project: Path, run: Callable[..., Running]) -> None:
    for path in ("docs/clients.md", "docs/updating.md", OURS, "verify.py"):
        append(project, path)

    log = run().log

    assert (
        "WARNING Changed here, though the template keeps it current: docs/clients.md,"
        f" docs/updating.md, {OURS} and more." in log
    )
    assert "this says what to do: my-server doctor" in log


def test_the_start_says_nothing_of_files_as_they_were_shipped(run: Callable[..., Running]) -> None:
    assert "template keeps" not in run().log


def test_a_store_that_is_away_is_to_be_mended(committed: Path) -> None:
    url = f"redis://:SECRET@127.0.0.1:{free_port()}/0"

    _, faults, said = examined(committed, MCP_STORAGE_URL=url)

    assert faults == ["the state cannot be reached, and nobody is let in"]
    assert "cannot be reached (Connection refused): start it" in said
    assert "SECRET" not in said
