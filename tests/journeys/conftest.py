"""A person's project with the page on troubles, and the computers on which they walk along it."""

from __future__ import annotations

import compileall
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.generate.project import copy, initialise
from tests.journeys import loaded
from tests.journeys.machine import Machine, quiet_ports
from tests.journeys.page import Journey, journeys
from tests.update.releases import THIS, Releases

Page = Callable[[str], Journey]
Computer = Callable[[], Machine]


@pytest.fixture(scope="module")
def releases(tmp_path_factory: pytest.TempPathFactory) -> Releases:
    """The template, whose newest release is the working tree."""
    return Releases(tmp_path_factory.mktemp("releases") / "template")


@pytest.fixture(scope="module")
def port() -> int:
    """The port of every server here; the one that is 10 above it is free too."""
    return quiet_ports()


@pytest.fixture(scope="module")
def url(port: int) -> str:
    return f"http://localhost:{port}"


@pytest.fixture(scope="module")
def rendered(releases: Releases, port: int, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of the newest release, committed; not to be changed."""
    project = tmp_path_factory.mktemp("rendered") / "my-server"
    copy(releases.folder, project, vcs_ref=THIS, port=str(port))
    initialise(project)
    compileall.compile_dir(project / "src", quiet=1)  # once, and not at each first start of a copy
    return project


@pytest.fixture(scope="module")
def page(rendered: Path) -> Page:
    """Returns a journey of the page by its heading."""
    return journeys(rendered).__getitem__


@pytest.fixture(scope="module")
def keeper() -> Iterator[Path]:
    """What has loaded the framework; see loaded.py."""
    with tempfile.TemporaryDirectory() as folder:  # a socket's path has to be short
        path = Path(folder) / "keeper"
        command = [sys.executable, loaded.__file__, "keep", str(path)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield path
        finally:
            process.kill()
            process.communicate()


@pytest.fixture
def computer(rendered: Path, keeper: Path, tmp_path: Path) -> Iterator[Computer]:
    """Returns a computer with the project on it."""
    computers: list[Machine] = []

    def computer() -> Machine:
        folder = tmp_path / f"computer-{len(computers)}"
        shutil.copytree(rendered, folder / "my-server", symlinks=True)
        computers.append(Machine(folder, folder / "my-server", keeper))
        return computers[-1]

    yield computer
    for machine in computers:
        machine.close()


@pytest.fixture
def machine(computer: Computer) -> Machine:
    return computer()
