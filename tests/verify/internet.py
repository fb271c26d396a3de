"""An internet of the tests: names, addresses, and what answers there, below everything else.

What verify.py asks the system for, names and connections, is answered from here for the addresses
of this internet; all above it, TLS and HTTP, is real.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.support.tls import Authority
from tests.verify.proxy import Fault, Proxy

HOST = "mcp.example.com"
URL = f"https://{HOST}"
IPV4, OTHER_IPV4 = "93.184.215.14", "93.184.215.15"
IPV6 = "2606:2800:21f:cb07:6820:80da:af6b:8b2c"


@dataclass
class Internet:
    """What the addresses of a name are, and which local port answers at which address."""

    authority: Authority
    port: int  # where the server's proxy is
    plain: Proxy  # where it is without TLS
    port_behind: int  # and the server itself
    names: dict[str, list[str]] = field(default_factory=lambda: {HOST: [IPV4]})
    ports: dict[str, int] = field(default_factory=dict)
    folder: Path = field(init=False)
    closing: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    def __post_init__(self) -> None:
        self.folder = self.authority.folder

    @property
    def plain_port(self) -> int:
        return self.plain.port

    def install(self, patch: pytest.MonkeyPatch) -> None:
        self.ports.setdefault(IPV4, self.port)
        resolve, connect = socket.getaddrinfo, socket.socket.connect
        patch.setenv("SSL_CERT_FILE", str(self.authority.file))

        def getaddrinfo(host: Any, port: Any, *args: Any, **options: Any) -> Any:
            if not str(host).endswith("example.com"):
                return resolve(host, port, *args, **options)
            if host not in self.names:
                raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
            return [entry(address, port) for address in self.names[host]]

        def reach(connection: socket.socket, address: Any) -> None:
            if address[0] in ("127.0.0.1", "::1"):
                connect(connection, address)
            elif address[0] not in self.ports:
                raise ConnectionRefusedError(111, "Connection refused")
            elif connection.family == socket.AF_INET6:
                connect(connection, ("::ffff:127.0.0.1", self.ports[address[0]], 0, 0))
            else:
                connect(connection, ("127.0.0.1", self.ports[address[0]]))

        patch.setattr(socket, "getaddrinfo", getaddrinfo)
        patch.setattr(socket.socket, "connect", reach)

    def serve(self, certificate: Path) -> None:
        """Lets the server show another certificate."""
        proxy = Proxy(certificate)
        self.closing.callback(proxy.stop)
        proxy.port_behind, self.ports[IPV4] = self.port_behind, proxy.port


def entry(address: str, port: int) -> tuple[Any, ...]:
    if ":" in address:
        return (socket.AF_INET6, socket.SOCK_STREAM, 6, "", (address, port, 0, 0))
    return (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))


class Below(Fault):
    """A fault below HTTP, which shows at a public address; `url` is what is verified."""

    def __init__(self, change: Callable[[Internet], None], url: str = URL) -> None:
        self.change, self.url = change, url
