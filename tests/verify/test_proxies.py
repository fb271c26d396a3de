"""A healthy server passes everything behind real proxies as people set them up."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from personal_verify.checks import every_check
from tests.support.process import Running
from tests.support.programs import caddy, free_port, need, nginx
from tests.verify.house import PASSWORD, Report

Verify = Callable[..., Report]

EVERYTHING = [check.id for check in every_check() if not check.option]


@contextmanager
def served(project: Path, url: str, port: int, **settings: str) -> Iterator[None]:
    """Starts the server of a public URL on a port."""
    server = Running(
        project,
        MCP_PORT=str(port),
        MCP_STATE_DIR=f".state-{port}",
        MCP_PUBLIC_URL=url,
        MCP_PASSWORD=PASSWORD,
        **settings,
    )
    try:
        yield
    finally:
        server.kill()


def test_caddy_with_a_certificate_for_half_a_day(
    rendered: Path, verify: Verify, tmp_path: Path
) -> None:
    port = free_port()

    with caddy(tmp_path, port) as (url, authority), served(rendered, url, port):
        report = verify(url, "--json", MCP_PASSWORD=PASSWORD, SSL_CERT_FILE=str(authority))

    assert report.with_status("pass") == EVERYTHING, report.out + report.err
    assert report.checks["reach.certificate"]["detail"].endswith("hours")


@pytest.mark.parametrize("answers", ["json", "sse"])
def test_nginx(rendered: Path, verify: Verify, tmp_path: Path, answers: str) -> None:
    need("nginx")
    port = free_port()

    with nginx(tmp_path, port, host="$http_host") as url:
        front = url.replace("127.0.0.1", "localhost")
        with served(rendered, front, port, MCP_RESPONSES=answers):
            report = verify(front, "--json", MCP_PASSWORD=PASSWORD)

    assert report.with_status("pass") == EVERYTHING, report.out + report.err
