"""The rendered files of Caddy and nginx, run as they are but for ports and certificates."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.deploy.rendering import changed
from tests.support.programs import free_port, need, wait_for_certificate
from tests.support.tls import Authority

# By kind: the answer that a project is rendered with, and the program. Debian's Caddy is of 2022,
# the other is pinned with the tests.
PROXIES = {
    "caddy": ("caddy", str(Path(sys.executable).with_name("caddy"))),
    "caddy-of-debian": ("caddy", "/usr/bin/caddy"),
    "nginx": ("nginx", "nginx"),
}
NGINX_CONF = """
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log info;
events {{}}
http {{
    {temporary}
    access_log {folder}/access.log;
    # What other people's nginx may be set to, all of it wrong for this server.
    gzip on;
    gzip_proxied any;
    gzip_types text/event-stream application/json;
    proxy_buffering on;
    client_max_body_size 1k;
    proxy_read_timeout 1s;
    include {folder}/site.conf;
}}
"""


@dataclass
class Front:
    """A proxy that runs before a server."""

    tunnel: str
    folder: Path
    url: str
    authority: Path  # the certificate to trust
    http_port: int

    @property
    def said(self) -> str:
        """Everything in all of its logs."""
        return "\n".join(path.read_text() for path in sorted(self.folder.glob("*.log")))


def site_of_nginx(deploy: Path, folder: Path, certificate: Path, http_port: int) -> Path:
    """Writes what nginx is started with: the rendered server in a bare configuration."""
    (file,) = (deploy / "nginx").iterdir()
    name = file.stem
    text = changed(
        file.read_text().replace("/var/log/nginx/", f"{folder}/"),
        ("    listen 80;\n", f"    listen 127.0.0.1:{http_port};\n"),
        ("    listen [::]:80;\n", f"    listen [::1]:{http_port};\n"),
        *(
            (f" /etc/letsencrypt/live/localhost/{part}.pem;", f" {certificate};")
            for part in ("fullchain", "privkey")
        ),
    )
    assert text.count(f"access_log {folder}/{name}.log {name};") == 2
    (folder / "site.conf").write_text(text)
    temporary = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    paths = " ".join(f"{part}_temp_path {folder}/{part};" for part in temporary)
    config = folder / "nginx.conf"
    config.write_text(NGINX_CONF.format(folder=folder, temporary=paths))
    return config


def caddyfile(deploy: Path, folder: Path, http_port: int) -> Path:
    """Writes what Caddy is started with: the rendered file, with a place of its own."""
    own = (
        "\tadmin off\n\tskip_install_trust\n\tdefault_bind 127.0.0.1\n"
        f"\thttp_port {http_port}\n\tstorage file_system {folder}/caddy\n"
    )
    text = changed((deploy / "caddy/Caddyfile").read_text(), ("\tlog {\n", f"{own}\tlog {{\n"))
    config = folder / "Caddyfile"
    config.write_text(text)
    return config


@contextmanager
def front(kind: str, deploy: Path, folder: Path, url: str) -> Iterator[Front]:
    """Starts the proxy of a rendered project; it serves `url`, which the project is told."""
    tunnel, program = PROXIES[kind]
    start = {"caddy": _start_caddy, "nginx": _start_nginx}[tunnel]
    http_port = free_port()
    process, authority = start(need(program), deploy, folder, http_port)
    try:
        wait_for_certificate(int(url.rpartition(":")[2]), authority)
        yield Front(tunnel, folder, url, authority, http_port)
    finally:
        process.terminate()
        process.wait(10)


def _start_nginx(
    program: str, deploy: Path, folder: Path, http_port: int
) -> tuple[subprocess.Popen[bytes], Path]:
    authority = Authority(folder)
    config = site_of_nginx(deploy, folder, authority.issue("localhost"), http_port)
    command = [program, "-p", str(folder), "-c", str(config), "-e", str(folder / "error.log")]
    return subprocess.Popen(command), authority.file


def _start_caddy(
    program: str, deploy: Path, folder: Path, http_port: int
) -> tuple[subprocess.Popen[bytes], Path]:
    config = caddyfile(deploy, folder, http_port)
    command = [program, "run", "--config", str(config), "--adapter", "caddyfile"]
    with (folder / "caddy.log").open("wb") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=log, env=os.environ | {"HOME": str(folder)}
        )
    return process, folder / "caddy/pki/authorities/local/root.crt"
