from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from shutil import copy as copy_file

import pytest

from tests.generate.project import copy, snapshot
from tests.support.engines import Engine
from tests.support.replicas import Crowd, balanced, replicas
from tests.support.site import PASSWORD

EXTENDED = Path(__file__).with_name("extended.py")
STATE_DIRS = ("shared", "shared", "third", "fourth")  # as on one volume, and on machines


@pytest.fixture(scope="module")
def crowd(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crowd]:
    """Four replicas on the module's engine, with the password that one of them made."""
    folder = tmp_path_factory.mktemp("crowd")
    project, meeting_place = folder / "my-server", folder / "meeting-place"
    copy(snapshot(folder / "template"), project, storage=engine.answer)
    copy_file(EXTENDED, project / "src/my_server/extend.py")
    meeting_place.mkdir()
    met = replicas(project, engine.url, STATE_DIRS, MEETING_PLACE=str(meeting_place))
    crowd = Crowd(project, engine, met)
    with ExitStack() as stack:
        for replica in crowd.replicas:
            stack.callback(replica.kill)
        for count in (2, 4):
            balancer = balanced(project, folder / f"{count}", crowd.replicas[:count])
            crowd.doors[count] = stack.enter_context(balancer)
        yield crowd


@pytest.fixture(scope="module")
def house(crowd: Crowd) -> Crowd:
    """The crowd, with the password of the tests."""
    crowd.command("password", stdin=f"{PASSWORD}\n")
    return crowd
