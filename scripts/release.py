"""Tags a release when all that makes one agrees, or says what does not. It publishes nothing."""

import argparse
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
VERSION = "template/src/personal_auth/version.py"
# By these, what is released could be tested in part only, or not at all.
LEFT_OUT = ("ARGS", "MAKEFLAGS", "MAKEOVERRIDES", "MFLAGS", "PYTEST_ADDOPTS")
GROUPS = ("Added", "Changed", "Deprecated", "Removed", "Fixed", "Security")


class ReleaseError(Exception):
    """Nothing was tagged; the message names the cause and the cure."""


class Section(NamedTuple):
    """What the changelog says of one version, or under Unreleased."""

    name: str
    date: str
    text: str


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("version", help="such as 1.0.0; the tag is v1.0.0")
    parser.add_argument("--check", action="store_true", help="without the tests and the tag")
    arguments = parser.parse_args()
    version = arguments.version
    try:
        if not re.fullmatch(r"(0|[1-9]\d*)(\.(0|[1-9]\d*)){2}", version):
            raise ReleaseError(f"{version!r} is no version: make release VERSION=1.0.0")
        found = [*occasion(version), *disagreements(version)]
        if found:
            raise ReleaseError("\n  ".join(["It is not ready:", *found]))
        if arguments.check:
            print(f"{version} can be released once `make test` has passed.")
        else:
            release(version)
    except ReleaseError as error:
        print(f"Nothing was tagged. {error}", file=sys.stderr)
        return 1
    return 0


def release(version: str) -> None:
    commit = git("rev-parse", "HEAD")
    print("Everything agrees. Now the tests ...", flush=True)
    environment = {name: value for name, value in os.environ.items() if name not in LEFT_OUT}
    if subprocess.run(["make", "test"], cwd=ROOT, env=environment).returncode != 0:
        raise ReleaseError("The tests fail: mend what they name above, commit, and start again.")
    if git("status", "--porcelain"):
        raise ReleaseError("Files were changed while the tests ran: commit them, and start again.")
    message = f"{version}\n\n{section(version).text}"
    git("tag", "--annotate", "--cleanup=whitespace", "-m", message, f"v{version}", commit)
    print(f"v{version} is tagged, on this computer only. To publish it to every `copier update`:")
    print(f"  git push --atomic origin main v{version}")
    print(f"  gh release create v{version} --verify-tag --notes-from-tag")


def occasion(version: str) -> Iterator[str]:
    """Yields what keeps this commit, on this day, from being the release."""
    if git("status", "--porcelain"):
        yield "Some changes are not committed: commit them, or put them away by git stash -u."
    if (branch := git("rev-parse", "--abbrev-ref", "HEAD")) != "main":
        yield f"This is {branch}, and releases are made of main: git switch main."
    taken = tags()
    if f"v{version}" in taken:
        yield f"v{version} is tagged, and no published tag may move: choose the next version."
    elif taken and number(version) < max(map(number, taken)):
        yield f"{version} comes before {max(taken, key=number)}, the last one: choose a later one."
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    if (date := section(version).date) not in {"", today}:
        yield f"CHANGELOG.md dates {version} to {date}: write {today}, which is today (UTC)."
    if section("Unreleased").text:
        yield f"CHANGELOG.md has entries under Unreleased: move them into the section of {version}."


def disagreements(version: str) -> Iterator[str]:
    """Yields what in the files does not agree with a version; nothing here depends on the day."""
    stated = re.search(r'^__version__ = "(.*)"$', read(VERSION), re.MULTILINE)
    if stated is None or stated[1] != version:
        yield f'{VERSION} states another version: write __version__ = "{version}" into it.'
    about = section(version)
    if not about.date:
        yield f"CHANGELOG.md has no section of {version}: begin one, ## [{version}] - YYYY-MM-DD."
    elif not re.search(r"^- ", about.text, re.MULTILINE):
        yield f"CHANGELOG.md has no entry for {version}: say what it changes for a server's owner."
    for group in re.findall(r"^### (.*)$", about.text, re.MULTILINE):
        if group not in GROUPS:
            yield f"CHANGELOG.md has a group {group}: choose among {', '.join(GROUPS)}."
    major = version.partition(".")[0]
    asked = re.search(rf"^## {major}\.0\.0$(.*?)(?=^## |\Z)", read("UPGRADING.md"), re.M | re.S)
    if int(major) > 1 and not (asked and asked[1].strip()):
        yield f"UPGRADING.md does not say what {major}.0.0 asks of a person: add ## {major}.0.0."
    answers = f"tests/update/answers/{version}.yml"
    if not (ROOT / answers).is_file():
        yield f"{answers} is missing: write into it what a project of this release has stored."
    hashes = [sys.executable, "scripts/shipped.py", "--check"]
    if subprocess.run(hashes, cwd=ROOT, stderr=subprocess.DEVNULL).returncode != 0:
        yield "The list of what is shipped is stale: `make shipped` writes it anew."


def section(name: str) -> Section:
    """Returns a section of the changelog; one that is not there is empty."""
    for part in re.split(r"^(?=## \[)", read("CHANGELOG.md"), flags=re.MULTILINE):
        heading, _, text = part.partition("\n")
        if heading.startswith(f"## [{name}]"):
            return Section(name, heading.partition(" - ")[2].strip(), text.strip())
    return Section(name, "", "")


def tags() -> set[str]:
    """Returns the releases, here and where they are published."""
    found = git("tag", "--list").split()
    if "origin" in git("remote").split():
        there = git("ls-remote", "--tags", "--refs", "origin")
        found += re.findall(r"refs/tags/(.+)$", there, re.MULTILINE)
    return {tag for tag in found if re.fullmatch(r"v\d+\.\d+\.\d+", tag)}


def number(version: str) -> list[int]:
    return [int(part) for part in version.removeprefix("v").split(".")]


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True)
    if done.returncode != 0:
        said = done.stderr.strip()
        raise ReleaseError(f"git {arguments[0]} failed: mend what it names, and try again.\n{said}")
    return done.stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
