from __future__ import annotations

import compileall
import functools
import os
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pytest
from httpx2 import create_ssl_context

from personal_verify.cli import main
from tests.generate.project import copy, snapshot
from tests.support import forks
from tests.verify.house import House, Report, housed, without_settings
from tests.verify.proxy import Fault, Proxy


@pytest.fixture(scope="session")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with the default answers."""
    project = tmp_path_factory.mktemp("rendered") / "my-server"
    copy(snapshot(tmp_path_factory.mktemp("template")), project)
    compileall.compile_dir(project / "src", quiet=1)  # once, and not at each first start
    return project


@pytest.fixture(scope="module")
def whole_house(rendered: Path) -> Iterator[House]:
    with housed(rendered, Proxy()) as house:
        yield house


@pytest.fixture
def house(whole_house: House) -> House:
    """The server, with nothing broken."""
    whole_house.proxy.fault = Fault()
    return whole_house


@pytest.fixture
def verify(rendered: Path) -> Callable[..., Report]:
    """Runs verify.py in the project's folder, as a program."""

    def run(*arguments: str, python: tuple[str, ...] = (), **settings: str) -> Report:
        done = forks.run(
            [sys.executable, *python, "verify.py", *arguments],
            cwd=rendered,
            env=without_settings(**settings),
            stdin=subprocess.DEVNULL,
            encoding="utf-8",
            timeout=60,
        )
        return Report(done.returncode, done.stdout, done.stderr)

    return run


def shared_tls() -> ssl.SSLContext:
    """Returns what trusts the authorities of this moment; reading them takes 20 ms."""
    return tls_of(*(os.environ.get(name) for name in ("SSL_CERT_FILE", "SSL_CERT_DIR")))


@functools.cache
def tls_of(*authorities: str | None) -> ssl.SSLContext:
    return create_ssl_context()


@pytest.fixture
def verify_here(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Report]:
    """Runs verify.py in this process, which is faster."""
    for name in [name for name in os.environ if name.startswith("MCP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(httpx2, "create_ssl_context", shared_tls)

    def run(*arguments: str, **settings: str) -> Report:
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        code = main(list(arguments))
        out, err = capsys.readouterr()
        return Report(code, out, err)

    return run
