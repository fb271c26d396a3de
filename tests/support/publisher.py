"""A real https host on loopback that publishes clients' metadata documents.

The fetcher reaches public addresses only, so for these tests `app.example` is taken for one: its
name resolves to 127.0.0.1, that one address counts as public, and its certificate is trusted. All
else of the fetcher is the real one.
"""

from __future__ import annotations

import http.server
import ipaddress
import json
import socket
import ssl
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from personal_auth import outside

HOST = "app.example"


@dataclass
class Answer:
    """What one path answers; `seconds` is how long it takes."""

    body: bytes
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0


class Publisher:
    """The host; `asked` lists the paths that were fetched."""

    def __init__(self, certificate: Path) -> None:
        publisher, self.asked, self._answers = self, [], {}  # type: ignore[var-annotated]

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                publisher.asked.append(self.path)
                answer = publisher._answers.get(self.path, Answer(b"", 404))
                time.sleep(answer.seconds)
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(answer.body)

            def log_message(self, *_: object) -> None:
                pass

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        self.port: int = self._server.server_address[1]
        self.origin = f"https://{HOST}:{self.port}"

    def url(self, path: str = "/client.json") -> str:
        return self.origin + path

    def publish(
        self, path: str = "/client.json", *, http: dict[str, Any] | None = None, **members: Any
    ) -> str:
        """Publishes a document; a member that is None is left out. Returns its URL."""
        document = {
            "client_id": self.url(path),
            "client_name": "Documented app",
            "redirect_uris": ["https://claude.ai/api/mcp/auth_callback"],
            **members,
        }
        document = {name: value for name, value in document.items() if value is not None}
        self._answers[path] = Answer(json.dumps(document).encode(), **(http or {}))
        return self.url(path)

    def answer(self, path: str, body: bytes, **http: Any) -> str:
        """Lets a path answer anything."""
        self._answers[path] = Answer(body, **http)
        return self.url(path)

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def take_for_public(monkeypatch: pytest.MonkeyPatch, certificate: Path) -> list[str]:
    """Lets the fetcher reach the publisher; returns the names that are being resolved."""
    resolved: list[str] = []
    real = outside.is_public

    def resolve(host: str, port: int) -> list[Any]:
        resolved.append(host)
        address = "127.0.0.1" if host.endswith(HOST) else str(ipaddress.ip_address(host))
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    monkeypatch.setattr(outside, "resolve", resolve)
    monkeypatch.setattr(outside, "is_public", lambda ip: ip == "127.0.0.1" or real(ip))
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    return resolved
