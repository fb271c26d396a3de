"""A real nginx that holds streams back is noticed, and one that does not is let alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.process import Running
from tests.support.programs import nginx
from tests.verify.house import PASSWORD, Report

Verify = Callable[..., Report]

HOLDS_BACK = ("proxy_buffering on;", "proxy_ignore_headers X-Accel-Buffering;")


@pytest.fixture(scope="module")
def streaming(rendered: Path) -> Iterator[Running]:
    """A server that answers with event streams."""
    settings = {"MCP_RESPONSES": "sse", "MCP_PASSWORD": PASSWORD, "MCP_STATE_DIR": ".streaming"}
    server = Running(rendered, **settings)
    yield server
    server.stop()


def test_what_is_held_back_is_noticed(
    streaming: Running, tmp_path: Path, verify_here: Verify
) -> None:
    with nginx(tmp_path, streaming.port, *HOLDS_BACK) as url:
        report = verify_here(url, "--json", "--only", "edge.stream")

    assert report.with_status("fail") == ["edge.stream"], report.out
    assert "proxy_buffering off;" in report.checks["edge.stream"]["cure"]


def test_what_is_compressed_and_so_held_back_is_noticed(
    streaming: Running, tmp_path: Path, verify_here: Verify
) -> None:
    compress = ("gzip on;", "gzip_types text/event-stream;", "gzip_min_length 0;")
    with nginx(tmp_path, streaming.port, *HOLDS_BACK, *compress) as url:
        report = verify_here(url, "--json", "--only", "edge.stream")

    assert report.with_status("fail") == ["edge.stream"], report.out


def test_what_is_passed_on_is_let_alone(
    streaming: Running, tmp_path: Path, verify_here: Verify
) -> None:
    with nginx(tmp_path, streaming.port) as url:
        report = verify_here(url, "--json", "--only", "edge.stream")

    assert report.checks["edge.stream"]["status"] == "pass"
    assert report.checks["edge.stream"]["detail"] == "three events, each when it was sent"


def test_a_server_that_streams_is_all_right(streaming: Running, verify_here: Verify) -> None:
    report = verify_here(streaming.url, "--json", MCP_PASSWORD=PASSWORD)

    assert report.code == 0, report.out
    assert report.with_status("skip") == []
