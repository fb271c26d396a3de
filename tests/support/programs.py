"""Real programs that some tests start: a browser, Redis, PostgreSQL, proxies, Node's clients."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

CHROMIUM_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@contextmanager
def chromium(*flags: str) -> Iterator[Any]:
    """Starts a headless Chromium; yields Playwright's `Browser`."""
    from playwright.sync_api import sync_playwright

    path = need("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=[*CHROMIUM_FLAGS, *flags])
        yield browser
        browser.close()


@contextmanager
def redis() -> Iterator[str]:
    """Starts a Redis of its own; yields its URL."""
    program, port = need("redis-server"), free_port()
    arguments = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    process = subprocess.Popen([program, *arguments], stdout=subprocess.DEVNULL)
    try:
        wait_for(port)
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        process.terminate()
        process.wait(10)


@contextmanager
def postgres() -> Iterator[str]:
    """Starts a PostgreSQL of its own; yields the URL of its database."""
    tools = Path(need("initdb")).parent
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="pg-", ignore_cleanup_errors=True) as folder:
        data = Path(folder) / "data"
        if os.geteuid() == 0:  # PostgreSQL refuses to run as root
            shutil.chown(folder, "postgres")
        options = f"-c listen_addresses=127.0.0.1 -c fsync=off -p {port} -k {folder}"
        as_postgres(
            folder, tools / "initdb", "-D", data, "-U", "owner", "-A", "trust", "-E", "UTF8"
        )
        as_postgres(
            folder, tools / "pg_ctl", "-D", data, "-w", "-l", data / "log", "-o", options, "start"
        )
        try:
            yield f"postgresql://owner@127.0.0.1:{port}/postgres"
        finally:
            as_postgres(folder, tools / "pg_ctl", "-D", data, "-m", "immediate", "stop")


@contextmanager
def pgbouncer(behind: str, mode: str) -> Iterator[str]:
    """Starts a pooler with two sessions before a PostgreSQL; yields the URL through it."""
    program, port = need("pgbouncer"), free_port()
    port_behind = urlsplit(behind).port
    with tempfile.TemporaryDirectory(prefix="pgbouncer-") as folder:
        config = Path(folder) / "pgbouncer.ini"
        config.write_text(f"""[databases]
        postgres = host=127.0.0.1 port={port_behind} user=owner
        [pgbouncer]
        listen_addr = 127.0.0.1
        listen_port = {port}
        unix_socket_dir =
        auth_type = any
        pool_mode = {mode}
        default_pool_size = 2
        """)
        user: dict[str, Any] = {}
        if os.geteuid() == 0:  # it refuses to run as root
            user = {"user": "postgres", "extra_groups": []}
            shutil.chown(folder, "postgres")
        process = subprocess.Popen([program, "--quiet", str(config)], **user)
        try:
            wait_for(port)
            yield behind.replace(f":{port_behind}/", f":{port}/")
        finally:
            process.terminate()
            process.wait(10)


@contextmanager
def caddy(folder: Path, behind: int) -> Iterator[tuple[str, Path]]:
    """Starts a TLS proxy before a port; yields its URL and its authority's certificate."""
    program, port = need("caddy"), free_port()
    config = folder / "Caddyfile"
    config.write_text(f"""{{
        admin off
        auto_https disable_redirects
        skip_install_trust
        storage file_system {folder / "caddy"}
    }}
    https://localhost:{port} {{
        bind 127.0.0.1
        tls internal
        reverse_proxy 127.0.0.1:{behind}
    }}
    """)
    command = [program, "run", "--config", str(config), "--adapter", "caddyfile"]
    with (folder / "caddy.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    root = folder / "caddy/pki/authorities/local/root.crt"
    try:
        wait_for_certificate(port, root)
        yield f"https://localhost:{port}", root
    finally:
        process.terminate()
        process.wait(10)


@contextmanager
def nginx(folder: Path, behind: int, *directives: str, host: str = "") -> Iterator[str]:
    """Starts nginx before a port, with directives of its own; yields its URL.

    It passes a `host` on, such as $http_host, else the name of what is behind it.
    """
    program, port = need("nginx"), free_port()
    temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
    config = folder / "nginx.conf"
    config.write_text(f"""
    daemon off;
    pid {folder}/nginx.pid;
    error_log {folder}/nginx.log;
    events {{}}
    http {{
        access_log off;
        {" ".join(f"{name}_temp_path {folder}/{name};" for name in temporary)}
        server {{
            listen 127.0.0.1:{port};
            location / {{
                proxy_pass http://127.0.0.1:{behind};
                proxy_set_header Host {host or f"localhost:{behind}"};
                {" ".join(directives)}
            }}
        }}
    }}
    """)
    process = subprocess.Popen([program, "-p", str(folder), "-c", str(config), "-e", "stderr"])
    try:
        wait_for(port)
        yield f"http://localhost:{port}"
    finally:
        process.terminate()
        process.wait(10)


CLIENTS = Path(__file__).resolve().parents[1] / "clients"


def need_client(name: str) -> str:
    """Returns the path of a program out of tests/clients/package.json, or skips the test."""
    path = CLIENTS / "node_modules/.bin" / name
    if not path.exists():
        pytest.skip(f"the npm package of {name} is not installed")
    return str(path)


def need(name: str) -> str:
    """Returns the path of a program, or skips the test that asks for it."""
    databases = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    places = [Path(sys.executable).parent, os.environ["PATH"], *databases, "/usr/sbin"]
    path = shutil.which(name, path=os.pathsep.join(map(str, places)))
    if path is None:
        pytest.skip(f"the program {name} is not installed")
    return path


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for_certificate(port: int, authority: Path) -> None:
    """Waits until a proxy shows a certificate of an authority that it may still be making."""
    wait_for(port)
    deadline = time.monotonic() + 20
    while True:
        try:
            tls = ssl.create_default_context(cafile=authority)
            with (
                socket.create_connection(("127.0.0.1", port), 5) as plain,
                tls.wrap_socket(plain, server_hostname="localhost"),
            ):
                return
        except OSError:  # also what TLS has to say
            assert time.monotonic() < deadline, f"no certificate at port {port}"
            time.sleep(0.02)


def as_postgres(folder: str, *command: object) -> None:
    user: dict[str, Any] = {"user": "postgres", "group": "postgres"} if os.geteuid() == 0 else {}
    subprocess.run(
        [str(part) for part in command], cwd=folder, check=True, capture_output=True, **user
    )


def wait_for(port: int) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise AssertionError(f"nothing answers on port {port}")


def freeze(first: int) -> list[int]:
    """Lets a process and its children hang; returns all of them, for `thaw`."""
    frozen = _sent(signal.SIGSTOP, [first])  # before its children: it makes no more of them
    children = Path(f"/proc/{first}/task/{first}/children").read_text().split()
    return frozen + _sent(signal.SIGSTOP, map(int, children))


def thaw(frozen: list[int]) -> None:
    """Lets processes go on."""
    _sent(signal.SIGCONT, frozen)


def _sent(what: signal.Signals, processes: Iterable[int]) -> list[int]:
    there = []
    for process in processes:
        with contextlib.suppress(ProcessLookupError):  # PostgreSQL ends a session by itself
            os.kill(process, what)
            there.append(process)
    return there
