"""Where the browser goes: servers under their public names, and the hosts of other people."""

from __future__ import annotations

import asyncio
import http.server
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from tests.support.site import URL, App, Clock, Site, Visitor
from tests.support.tls import certificate

PATIENCE = 30_000  # milliseconds, for a machine that has much else to do


class Host:
    """Somebody else's host, with and without TLS; it shows pages and remembers who came."""

    def __init__(self, certificate: Path) -> None:
        self.pages: dict[str, tuple[int, dict[str, str], bytes]] = {}
        self.visits: list[str] = []
        host = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                host.visits.append(f"{self.command} {self.path}")
                path = self.path.partition("?")[0]
                hello = (200, {"content-type": "text/html"}, b"<title>App</title><p>Hello.")
                status, headers, body = host.pages.get(path, hello)
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            do_POST = do_GET  # noqa: N815 - http.server calls it so

            def log_message(self, *_: object) -> None:
                pass

        here = ("127.0.0.1", 0)
        self._servers = [http.server.ThreadingHTTPServer(here, Handler) for _ in range(2)]
        secure = self._servers[1]
        secure.socket = _tls(certificate).wrap_socket(
            secure.socket, server_side=True, do_handshake_on_connect=False
        )
        for server in self._servers:
            server.daemon_threads = True
            threading.Thread(target=server.serve_forever, daemon=True).start()
        self.port, self.tls_port = (server.server_address[1] for server in self._servers)

    def show(self, path: str, html: str) -> None:
        self.pages[path] = (200, {"content-type": "text/html; charset=utf-8"}, html.encode())

    def keep(self, path: str, status: int, headers: dict[str, str], body: bytes) -> str:
        """Shows a page exactly as a server answered it; returns its address."""
        self.pages[path] = (status, headers, body)
        return f"https://claude.ai{path}"

    def answers(self, path: str) -> list[dict[str, str]]:
        """Returns what arrived at a callback."""
        came = [urlsplit(visit.partition(" ")[2]) for visit in self.visits]
        return [
            {key: value[0] for key, value in parse_qs(url.query, strict_parsing=True).items()}
            for url in came
            if url.path == path
        ]

    def forget(self) -> None:
        self.visits.clear()
        self.pages.clear()

    def stop(self) -> None:
        for server in self._servers:
            server.shutdown()
            server.server_close()


class Proxy:
    """What stands in front of a server: a port of its own, when wanted with TLS."""

    def __init__(self, certificate: Path | None) -> None:
        self.backend = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        context = _tls(certificate) if certificate else None
        starting = asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=context)
        self._server = asyncio.run_coroutine_threadsafe(starting, self._loop).result(10)
        self.port: int = self._server.sockets[0].getsockname()[1]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            inner = await asyncio.open_connection("127.0.0.1", self.backend)
        except OSError:
            writer.close()
            return
        await asyncio.gather(_pour(reader, inner[1]), _pour(inner[0], writer))

    def stop(self) -> None:
        async def end() -> None:
            self._server.close()
            running = asyncio.all_tasks() - {asyncio.current_task()}
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


class PublicSite(Site):
    """A server whose visitors use its public name, whatever that is."""

    def visitor(self, **headers: str) -> Visitor:
        return super().visitor(**{"host": urlsplit(self.origin).netloc, **headers})

    @property
    def origin(self) -> str:
        return str(self.provider.identity.origin)


class Place:
    """A server, the app that wants to use it, and the host where the app takes its answers."""

    def __init__(self, site: PublicSite, host: Host, callback: str, browser: Any) -> None:
        self.site, self.host, self.callback, self.browser = site, host, callback, browser
        self.path = urlsplit(callback).path

    def app(self, **metadata: Any) -> App:
        return App.register(self.site, self.callback, **metadata)

    def address(self, app: App, **changes: str | None) -> str:
        query = app.query(**{"resource": f"{self.site.origin}/mcp", **changes})
        return f"{self.site.origin}/authorize?{urlencode(query)}"

    @property
    def answers(self) -> list[dict[str, str]]:
        return self.host.answers(self.path)


class House:
    """All hosts that a browser of these tests can reach."""

    def __init__(self, folder: Path) -> None:
        pem = certificate(folder, "mcp.example.com", "claude.ai", "evil.example")
        self.host = Host(pem)
        self.public, self.local = Proxy(pem), Proxy(None)

    @property
    def flags(self) -> tuple[str, str]:
        """Chromium's flags: two names lead to the host, one to the server, all others nowhere."""
        names = {
            urlsplit(URL).netloc: self.public.port,
            "claude.ai": self.host.tls_port,
            "evil.example": self.host.tls_port,
        }
        rules = [f"MAP {name} 127.0.0.1:{port}" for name, port in names.items()]
        rules += ["MAP * ~NOTFOUND", "EXCLUDE 127.0.0.1", "EXCLUDE localhost"]
        return f"--host-resolver-rules={','.join(rules)}", "--ignore-certificate-errors"

    @contextmanager
    def place(self, kind: str, browser: Any, folder: Path, **options: Any) -> Iterator[Place]:
        """Starts a server on `https://mcp.example.com` (public) or on localhost (local)."""
        proxy = self.public if kind == "public" else self.local
        url = URL if kind == "public" else f"http://localhost:{proxy.port}"
        callback = (
            "https://claude.ai/api/mcp/auth_callback"
            if kind == "public"
            else f"http://127.0.0.1:{self.host.port}/callback"
        )
        options = {"server_name": "my-server", **options}
        site = PublicSite(folder / "state", options.pop("clock", Clock()), base_url=url, **options)
        proxy.backend = site.port
        self.host.forget()
        try:
            yield Place(site, self.host, callback, browser)
        finally:
            site.stop()

    def stop(self) -> None:
        self.host.stop()
        self.public.stop()
        self.local.stop()


async def _pour(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    try:
        while data := await source.read(65536):
            target.write(data)
            await target.drain()
    except (OSError, ssl.SSLError):
        pass
    finally:
        target.close()


def _tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context
