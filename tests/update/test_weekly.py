"""The weekly workflow tells of an update once. Its scripts run, with a real Copier, tags and git.

Only GitHub is not there: `gh` stands in for it with a memory of issues, and `uvx` runs the
environment's Copier.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.generate.project import ROOT, copy, git, initialise
from tests.update.releases import THIS, Releases, write

WORKFLOW = ".github/workflows/template-update.yml"
WRITE, SAY = "Write what changes", "Open the issue, or renew the one that is open"
BOT, STRANGER = "app/github-actions", "mallory"

CHANGELOG = """# Changes

## [Unreleased]

- Nothing that a release has.

## [1.10.0] - 2027-02-01

### Added

- Ten, which is more than nine. $(touch executed) `touch executed`

## [1.9.0] - 2027-01-01

- Nine.

## [{this}] - 2026-12-01

- The one from which the project was made.

## [0.9.0] - 2026-01-01

- An old one.
"""

UVX = f"""#!/bin/sh
shift
exec {sys.executable} -m copier "$@"
"""

# Answers as `gh issue` does, as far as the workflow asks; anything else is an error.
GH = f"""#!{sys.executable}
import json, sys
from pathlib import Path

memory = Path(__file__).with_name("issues.json")
issues = json.loads(memory.read_text())
match sys.argv[1:]:
    case ["issue", "list", "--state", "all", "--limit", _, "--json", "number,title,state,author"]:
        fields = ("number", "title", "state", "author")
        print(json.dumps([{{name: one[name] for name in fields}} for one in issues]))
    case ["issue", "create", "--title", title, "--body-file", file]:
        issues.append({{"number": len(issues) + 1, "title": title, "body": Path(file).read_text(),
            "state": "OPEN", "author": {{"login": "{BOT}"}}, "comments": []}})
    case ["issue", "edit", number, "--title", title, "--body-file", file]:
        issues[int(number) - 1] |= {{"title": title, "body": Path(file).read_text()}}
    case ["issue", "comment", number, "--body", text]:
        issues[int(number) - 1]["comments"].append(text)
    case other:
        sys.exit(f"gh knows no {{other}}")
memory.write_text(json.dumps(issues))
"""


class Job:
    """One repository on GitHub: what was pushed to it, its issues, and the job's folder."""

    def __init__(self, project: Path, folder: Path) -> None:
        self.project, self.folder = project, folder
        self.workflow: dict[str, Any] = yaml.safe_load((project / WORKFLOW).read_text("utf-8"))
        self.steps = {step.get("name"): step for step in self.workflow["jobs"]["look"]["steps"]}
        (folder / "temp").mkdir(parents=True)
        for name, text in (("uvx", UVX), ("gh", GH), ("issues.json", "[]")):
            (folder / name).write_text(text, "utf-8")
            (folder / name).chmod(0o755)

    def environment(self, step: dict[str, Any]) -> dict[str, str]:
        path = f"{self.folder}{os.pathsep}{os.environ['PATH']}"
        ours = {"RUNNER_TEMP": str(self.folder / "temp"), "PATH": path}
        ours |= {"GITHUB_OUTPUT": str(self.folder / "output"), "COPIER_CACHE_DIR": str(self.folder)}
        return (
            {name: value for name, value in os.environ.items() if not name.startswith("GIT")}
            | {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": str(self.folder / "gitconfig")}
            | self.workflow["env"]
            | step.get("env", {})
            | ours
        )

    def step(self, name: str) -> subprocess.CompletedProcess[str]:
        step = self.steps[name]
        script = self.folder / "script"
        script.write_text(step["run"], "utf-8")
        shell = {"python": [sys.executable], None: ["bash", "-e"]}[step.get("shell")]
        return subprocess.run(
            [*shell, str(script)],
            cwd=self.project,
            env=self.environment(step),
            capture_output=True,
            text=True,
        )

    def week(self, *names: str) -> str:
        """Runs all steps, or the given ones, as the runner would; returns what they said."""
        said = []
        for name in names or ("Ask Copier", WRITE, SAY):
            output = self.folder / "output"
            update = output.exists() and "update=yes" in output.read_text().splitlines()
            assert self.steps[name].get("if", "") in {"", "steps.copier.outputs.update == 'yes'"}
            if "if" in self.steps[name] and not update:
                continue
            done = self.step(name)
            assert done.returncode == 0, done.stdout + done.stderr
            said.append(done.stdout)
        return "".join(said)

    @property
    def issues(self) -> list[dict[str, Any]]:
        issues: list[dict[str, Any]] = json.loads((self.folder / "issues.json").read_text())
        return issues

    def change(self, **members: object) -> None:
        """Changes the first issue, as a person does on the page."""
        first, *rest = self.issues
        (self.folder / "issues.json").write_text(json.dumps([first | members, *rest]))

    def has_found(self, current: str, newest: str) -> None:
        """Puts in the place of the first step what it would have found."""
        versions = {"update_available": True, "current_version": current, "latest_version": newest}
        (self.folder / "temp" / "versions.json").write_text(json.dumps(versions))
        (self.folder / "output").write_text("update=yes\n")
        shutil.rmtree(self.folder / "temp" / "template", ignore_errors=True)


@pytest.fixture(scope="module")
def template(releases: Releases) -> Releases:
    """The releases 1.9.0 and 1.10.0 after the working tree's."""
    text = CHANGELOG.replace("{this}", THIS.removeprefix("v"))
    releases.release("v1.9.0")
    releases.release("v1.10.0", write("CHANGELOG.md", text))
    return releases


@pytest.fixture(scope="module")
def made(template: Releases, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of the working tree's release; not to be changed."""
    project = tmp_path_factory.mktemp("made") / "my-server"
    copy(template.folder, project, vcs_ref=THIS)
    return project


Push = Callable[..., Job]


@pytest.fixture
def push(made: Path, tmp_path: Path) -> Push:
    """Returns a job for what of the project it reads, some of its answers put differently."""

    def push(**answers: str) -> Job:
        text = (made / ".copier-answers.yml").read_text("utf-8")
        for name, value in answers.items():
            text = re.sub(
                rf"^{name}: .*$", lambda _, line=f"{name}: {value}": line, text, flags=re.M
            )
        project = tmp_path / "my-server"
        (project / WORKFLOW).parent.mkdir(parents=True)
        shutil.copy(made / WORKFLOW, project / WORKFLOW)
        (project / ".copier-answers.yml").write_text(text, "utf-8")
        return Job(project, tmp_path / "job")

    return push


@pytest.fixture
def pushed_from(push: Push, template: Releases, tmp_path: Path) -> Push:
    """Returns a job for a project of some address, which git finds in the template's folder."""

    def pushed_from(address: str) -> Job:
        job = push(_src_path=address)
        hosts = tmp_path / "hosts"
        (hosts / "OWNER").mkdir(parents=True)
        for name in ("template", "template.git"):
            (hosts / "OWNER" / name).symlink_to(template.folder)
        lines = [f'[url "{hosts}/"]']
        for host in ("github.com", "gitlab.com", "git.example.com:8443", "me:secret@github.com"):
            lines.append(f"insteadOf = https://{host}/")
        lines.append(f'[url "{hosts}/OWNER/"]')
        for start in ("git@github.com:", "ssh://git@github.com/"):
            lines.append(f"insteadOf = {start}OWNER/")
        (job.folder / "gitconfig").write_text("\n".join(lines))
        return job

    return pushed_from


def test_a_current_project_hears_nothing(push: Push) -> None:
    job = push(_commit="v1.10.0")

    said = job.week()

    assert said == "This project is current.\n"
    assert job.issues == []


def test_an_update_is_one_issue_with_what_lies_between_renewed_week_after_week(
    pushed_from: Push,
) -> None:
    job = pushed_from("gh:OWNER/template")
    before_it_ran = [path.name for path in job.project.rglob("*") if path.is_file()]

    job.week()
    job.week(SAY)

    (issue,) = job.issues
    before, _, changes = issue["body"].partition("What has changed since")
    assert issue["title"] == "Template update: 1.10.0"
    assert f"made from version {THIS.removeprefix('v')} of" in before
    assert [line for line in changes.splitlines() if line.startswith("## ")] == [
        "## [1.10.0] - 2027-02-01",
        "## [1.9.0] - 2027-01-01",
    ]
    assert "Ten, which" in changes
    assert "UPGRADING" not in issue["body"]
    assert issue["comments"] == []
    assert [path.name for path in job.project.rglob("*") if path.is_file()] == before_it_ran


def test_the_issue_gives_the_commands_of_the_documentation(push: Push, made: Path) -> None:
    job = push()
    job.has_found("1.0.0", "1.10.0")

    job.week(WRITE)

    block = (job.folder / "temp/body.md").read_text().split("```")[1].removeprefix("sh\n")
    commands = [line.partition("    #")[0].rstrip() for line in block.strip().splitlines()]
    said = (ROOT / "copier.yml").read_text() + (made / "docs/updating.md").read_text()
    assert len(commands) == 4
    assert [command for command in commands if command not in said] == []


def test_a_further_release_renames_the_open_issue_and_says_so_in_a_comment(push: Push) -> None:
    job = push()
    job.has_found("1.0.0", "1.9.0")
    job.week(WRITE, SAY)

    job.has_found("1.0.0", "2.0.0")
    job.week(WRITE, SAY)

    (issue,) = job.issues
    assert issue["title"] == "Template update: 2.0.0"
    assert issue["comments"] == ["There is a newer one by now. Template update: 2.0.0"]


def test_a_closed_issue_ends_the_reminders_of_its_version_only(push: Push) -> None:
    job = push()
    job.has_found("1.0.0", "1.9.0")
    job.week(WRITE, SAY)
    job.change(state="CLOSED")

    said = job.week(SAY)
    after_closing = job.issues
    job.has_found("1.0.0", "1.10.0")
    job.week(WRITE, SAY)

    assert "was closed" in said
    assert [one["state"] for one in after_closing] == ["CLOSED"]
    assert [one["title"] for one in job.issues if one["state"] == "OPEN"] == [
        "Template update: 1.10.0"
    ]


@pytest.mark.parametrize("state", ["OPEN", "CLOSED"])
def test_an_issue_of_a_stranger_is_neither_taken_for_ours_nor_edited(
    push: Push, state: str
) -> None:
    job = push()
    job.has_found("1.0.0", "1.9.0")
    job.week(WRITE, SAY)
    job.change(author={"login": STRANGER}, state=state, body="theirs")

    job.week(SAY)

    assert [one["author"]["login"] for one in job.issues] == [STRANGER, BOT]
    assert job.issues[0]["body"] == "theirs"


def test_a_project_that_is_older_than_the_first_release_is_told_of_all(
    push: Push, template: Releases
) -> None:
    first = git(template.folder, "rev-list", "--max-parents=0", "HEAD").split()[0]
    job = push(_commit=first[:7])

    job.week()

    (issue,) = job.issues
    assert "made from version 0.0.0.post1.dev0+" in issue["body"]
    assert issue["body"].count("\n## [") == CHANGELOG.count("\n## [") - len(["Unreleased"])


def test_a_project_of_a_commit_after_a_release_is_told_of_the_later_ones(push: Push) -> None:
    job = push()
    job.has_found("1.9.0.post2.dev0+f3376b9", "1.10.0")

    job.week(WRITE, SAY)

    (issue,) = job.issues
    assert issue["body"].count("\n## [") == 1
    assert "Ten, which" in issue["body"]


def test_a_template_without_a_release_is_named_by_its_commit(pushed_from: Push) -> None:
    job = pushed_from("gh:OWNER/template")
    job.has_found("0.0.0.post1.dev0+f3376b9", "0.0.0.post2.dev0+5de60ff")

    job.week(WRITE, SAY)

    (issue,) = job.issues
    assert issue["title"] == "Template update: 0.0.0.post2.dev0+5de60ff"
    assert "(https://github.com/OWNER/template/blob/HEAD/CHANGELOG.md)" in issue["body"]
    assert "\n## [" not in issue["body"]


def test_a_template_out_of_reach_fails_the_job_with_a_sentence(push: Push, tmp_path: Path) -> None:
    job = push(_src_path=f"file://{tmp_path}/gone.git")

    done = job.step("Ask Copier")

    assert done.returncode == 1
    assert done.stdout.startswith("::error::Copier could not compare this project")
    assert ".copier-answers.yml" in done.stdout
    assert not (job.folder / "output").exists()


def test_an_answer_that_fails_to_come_the_second_time_fails_the_job(push: Push) -> None:
    job = push()
    case = 'case "$*" in *--quiet*) exit 2;; *) exit 1;; esac'
    (job.folder / "uvx").write_text(f"#!/bin/sh\n{case}\n")

    done = job.step("Ask Copier")

    assert done.returncode == 1
    assert not (job.folder / "output").exists()


def test_without_issues_in_the_repository_the_job_fails_with_a_sentence(push: Push) -> None:
    job = push()
    job.has_found("1.0.0", "1.9.0")
    job.week(WRITE)
    (job.folder / "gh").write_text("#!/bin/sh\necho the repository has disabled issues >&2\nexit 1")

    done = job.step(SAY)

    assert done.returncode == 1
    assert "Are issues turned on" in done.stdout
    assert "disabled issues" in done.stderr


@pytest.mark.parametrize(
    "text",
    ["# Changes\n\nNo headings.\n", "", "## [1..2]\n\n- Odd.\n\n## [.]\n\n- \udcff\n"],
    ids=["headings", "text", "sense"],
)
def test_a_changelog_that_lacks_its_is_linked(push: Push, tmp_path: Path, text: str) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "CHANGELOG.md").write_text(text, "utf-8", "surrogateescape")
    initialise(other)
    git(other, "tag", "v1.9.0")
    job = push(_src_path=str(other))
    job.has_found("1.0.0", "1.9.0")

    job.week(WRITE, SAY)

    (issue,) = job.issues
    assert issue["body"].endswith(
        "What has changed since, in full: `CHANGELOG.md` of the template\n\n"
    )


def test_a_long_changelog_fits_into_an_issue(push: Push, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "CHANGELOG.md").write_text("## [1.9.0] - 2027-01-01\n\n" + "- A line.\n" * 20_000)
    initialise(other)
    git(other, "tag", "v1.9.0")
    job = push(_src_path=str(other))
    job.has_found("1.0.0", "1.9.0")

    job.week(WRITE)

    assert 50_000 < len((job.folder / "temp/body.md").read_text()) <= 65_536


ADDRESSES = {
    "gh:OWNER/template": "https://github.com/OWNER/template",
    "gl:OWNER/template.git": "https://gitlab.com/OWNER/template",
    "https://github.com/OWNER/template.git": "https://github.com/OWNER/template",
    "git+https://git.example.com:8443/OWNER/template": "https://git.example.com:8443/OWNER/template",
    "'https://me:secret@github.com/OWNER/template.git'": "https://github.com/OWNER/template",
    "git@github.com:OWNER/template.git": "https://github.com/OWNER/template",
    "ssh://git@github.com/OWNER/template.git": "https://github.com/OWNER/template",
}


@pytest.mark.parametrize("address", ADDRESSES)
def test_the_changelog_is_found_and_linked_from_every_kind_of_address(
    pushed_from: Push, address: str
) -> None:
    job = pushed_from(address)
    job.has_found("0.9.0", "1.10.0")

    job.week(WRITE, SAY)

    (issue,) = job.issues
    assert "Ten, which" in issue["body"]
    for name in ("CHANGELOG.md", "UPGRADING.md"):
        assert f"[{name}]({ADDRESSES[address]}/blob/v1.10.0/{name})" in issue["body"]
    assert "secret" not in issue["body"]


@pytest.mark.parametrize("start", ["git@github.com:", "ssh://git@github.com/"])
def test_an_address_over_ssh_is_read_without_a_key(push: Push, start: str) -> None:
    job = push()

    read = subprocess.run(
        ["git", "ls-remote", "--get-url", f"{start}OWNER/template.git"],
        env=job.environment({}),
        check=True,
        capture_output=True,
        text=True,
    )

    assert read.stdout.strip() == "https://github.com/OWNER/template.git"


def test_the_workflow_asks_for_the_copier_that_the_template_needs(made: Path) -> None:
    workflow = yaml.safe_load((made / WORKFLOW).read_text("utf-8"))
    needed = yaml.safe_load((ROOT / "copier.yml").read_text("utf-8"))["_min_copier_version"]

    assert workflow["env"]["COPIER"] == f"copier>={needed},<10"


def test_the_job_may_write_issues_and_only_the_last_step_has_the_token(made: Path) -> None:
    workflow = yaml.safe_load((made / WORKFLOW).read_text("utf-8"))
    steps = workflow["jobs"]["look"]["steps"]

    assert workflow["permissions"] == {"contents": "read"}
    assert workflow["jobs"]["look"]["permissions"] == {"contents": "read", "issues": "write"}
    assert steps[0]["with"] == {"persist-credentials": False}
    assert [step.get("name") for step in steps if "github.token" in str(step)] == [SAY]


def test_the_scripts_are_python_without_faults(push: Push) -> None:
    job = push()

    for name in (WRITE, SAY):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", "check", "--isolated", "--select", "F,B,W", "-"],
            input=job.steps[name]["run"],
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout
