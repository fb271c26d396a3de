"""A webhook of the owner's: a real HTTP server that keeps what is posted to it."""

from __future__ import annotations

import http.server
import queue
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

PATH = "/a-topic-that-nobody-guesses"
SECONDS = 20


@dataclass
class Post:
    """One request as it came in."""

    path: str
    headers: dict[str, str]
    body: str
    raw: bytes = field(repr=False)


class Hook:
    """Answers every POST with `status`; `posts` has them in their order."""

    def __init__(self) -> None:
        hook = self
        self.status, self.location, self.huge, self.drips = 200, "", False, False
        self.open = threading.Event()  # while it is not set, nothing is answered
        self.open.set()
        self.came = 0
        self.posts: queue.Queue[Post] = queue.Queue()

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                raw = self.headers.as_bytes() + body
                hook.came += 1
                hook.posts.put(Post(self.path, dict(self.headers), body.decode(), raw))
                hook.open.wait()
                if hook.drips:
                    self.drip()
                self.send_response(hook.status)
                if hook.location:
                    self.send_header("Location", hook.location)
                self.end_headers()
                while hook.huge:  # until the other side has heard enough
                    self.wfile.write(b"x" * 65536)

            def drip(self) -> None:
                """Begins an answer, and goes on with a byte at a time."""
                self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Long: ")
                for _ in range(SECONDS * 50):
                    self.wfile.write(b"x")
                    time.sleep(0.02)

            def log_message(self, *_: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        self.port: int = self._server.server_address[1]
        self.host = f"127.0.0.1:{self.port}"
        self.url = f"http://{self.host}{PATH}"

    def next(self) -> Post:
        """Waits for the next request."""
        return self.posts.get(timeout=SECONDS)

    def stop(self) -> None:
        self.open.set()
        self.huge = False
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def hooked(**how: Any) -> Iterator[Hook]:
    hook = Hook()
    for name, value in how.items():
        setattr(hook, name, value)
    try:
        yield hook
    finally:
        hook.stop()
