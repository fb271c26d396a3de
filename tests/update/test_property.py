"""Whatever a person does outside our files: no update conflicts with it, none of it is lost."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.generate.project import copy, git, initialise
from tests.update import lived_in
from tests.update.releases import Releases, commit, conflicts, update
from tests.update.trees import Entry, Tree, owned_as, tree

EXAMPLES = 6  # each is one update with many edits
SEEDS = (
    "README.md",
    "CLAUDE.md",
    *(f"{lived_in.PACKAGE}/{name}.py" for name in ("__init__", "extend")),
    *(f"{lived_in.PACKAGE}/tools/{name}.py" for name in ("__init__", "notes", "hello")),
)
SHARED = ("pyproject.toml", ".gitignore", ".dockerignore")
FOLDERS = (
    "",
    "a folder/ünder another/",
    "docs/",
    "deploy/",
    "deploy/cloudflared/",
    ".github/workflows/",
    "tests/mine/",
    "src/another/",
    "src/personal_auth/",
    f"{lived_in.PACKAGE}/",
    f"{lived_in.PACKAGE}/tools/",
)

# Every character that a file's name can have but those in the names of our own: `m-` sets it apart.
names = st.text(
    st.characters(codec="utf-8", exclude_characters="/\0", exclude_categories=("Cs",)),
    min_size=1,
    max_size=20,
).map(lambda name: f"m-{name}")
odd_names = st.sampled_from(
    [
        *("-rf", "--help", "~mine", "#mine#", "!mine", "*", "[a]", "%s", "{{ jinja }}"),
        *("'single'", '"double"', "back\\slash", "a\nline", "tab\t", " space ", "mine.orig"),
        *("mine.pyc", "m-ignored.bin", "é", "e\u0301", "日本語"),
    ]
)
lines = st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), max_size=40))
texts = st.tuples(lines, st.sampled_from(["\n", "\r\n"]), st.booleans()).map(
    lambda drawn: (drawn[1].join(drawn[0]) + (drawn[1] if drawn[2] else "")).encode()
)
contents = st.one_of(
    st.just(b""), texts, st.binary(max_size=200), texts.map(lambda text: text * 50)
)

Edit = Callable[[Path], None]


def write_file(name: str, content: bytes, mode: int) -> Edit:
    def edit(project: Path) -> None:
        path = project / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.write_bytes(content)
        path.chmod(mode)

    return edit


def link(name: str, target: str) -> Edit:
    def edit(project: Path) -> None:
        path = project / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.symlink_to(target)

    return edit


def remove(name: str) -> Edit:
    return lambda project: (project / name).unlink(missing_ok=True)


def below(name: str, text: str) -> Edit:
    def edit(project: Path) -> None:
        with (project / name).open("a", encoding="utf-8", newline="") as file:
            file.write(text)

    return edit


def depend(package: str) -> Edit:
    def edit(project: Path) -> None:
        path = project / "pyproject.toml"
        before, line, after = path.read_text("utf-8").partition(lived_in.LINE)
        path.write_text(f'{before}{line}  "{package}",\n{after}', "utf-8")

    return edit


anywhere = st.builds(str.__add__, st.sampled_from(FOLDERS), st.one_of(names, odd_names))
seeds = st.sampled_from(SEEDS)
modes = st.sampled_from([0o644, 0o755])
comments = st.text(st.characters(codec="ascii", min_codepoint=32), max_size=40).map("# {}\n".format)
edits = st.one_of(
    st.builds(write_file, st.one_of(anywhere, seeds), contents, modes),
    st.builds(
        link, anywhere, st.sampled_from(["../nowhere", "README.md", "/etc/hostname", "docs"])
    ),
    st.builds(remove, seeds),
    st.builds(below, st.just("pyproject.toml"), comments),
    st.builds(depend, st.sampled_from(["httpx>=0.28", "m-package", "zope.interface>=5,<9"])),
    st.builds(below, st.sampled_from(SHARED[1:]), st.just("m-ignored*\n")),
)


class Base:
    """A project to be edited, and what a fresh copy of the newest release holds."""

    def __init__(self, releases: Releases, folder: Path) -> None:
        self.project, self.fresh = folder / "my-server", folder / "fresh"
        copy(releases.folder, self.project, vcs_ref="v0.9.0", **lived_in.ANSWERS)
        initialise(self.project)
        copy(releases.folder, self.fresh, **lived_in.ANSWERS)
        self.untouched = tree(self.project)
        self.ours: Tree = owned_as("owned", self.fresh)


@pytest.fixture(scope="module")
def base(history: Releases, tmp_path_factory: pytest.TempPathFactory) -> Base:
    return Base(history, tmp_path_factory.mktemp("base"))


def own_lines(entry: Entry, own: set[bytes]) -> list[bytes]:
    return [line for line in entry.content.splitlines() if line in own]


@settings(
    max_examples=EXAMPLES,
    derandomize=True,
    deadline=None,
    database=None,
    phases=[Phase.generate],  # an edit less would cost one more update
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(drawn=st.lists(edits, min_size=40, max_size=60))
def test_no_edit_outside_our_files_conflicts_or_vanishes(base: Base, drawn: list[Edit]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder) / "my-server"
        shutil.copytree(base.project, project, symlinks=True)
        for edit in drawn:
            edit(project)
        commit(project)
        edited = tree(project)
        theirs = {path for path in edited if edited[path] != base.untouched.get(path)}
        assert theirs

        update(project)

        after = tree(project)
        kept = {path for path in theirs if path not in SHARED}
        assert {path: after.get(path) for path in kept} == {path: edited[path] for path in kept}
        assert after.keys() >= edited.keys() - base.untouched.keys()
        assert [path for path in base.untouched if path not in edited and path in after] == []
        assert {path: after.get(path) for path in base.ours} == base.ours
        for path in SHARED:
            shipped = base.untouched[path].content.splitlines()
            own = {*edited[path].content.splitlines()} - {*shipped}
            assert own_lines(after[path], own) == own_lines(edited[path], own)
        assert conflicts(project) == []
        assert git(project, "ls-files", "--unmerged") == ""
        assert [name for name in after if name.endswith(".rej")] == []
