"""A relay in front of a server that adds a header, for a suite that can send no token."""

from __future__ import annotations

import http.client
import socket
import socketserver
import threading
from contextlib import suppress
from typing import cast


class Relay(socketserver.ThreadingTCPServer):
    """Serves on a free port of the loopback; everything but that header passes as it is.

    Attributes:
        port_behind: Where the server listens.
        added: The header line to add, if any.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Passing)
        self.port_behind = 0
        self.added = b""
        self._thread = threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://localhost:{self.server_address[1]}"

    def stop(self) -> None:
        self.shutdown()
        self._thread.join(10)
        self.server_close()


class Passing(socketserver.StreamRequestHandler):
    """One connection: requests are taken apart, answers pass as the bytes that they are."""

    disable_nagle_algorithm = True

    def handle(self) -> None:
        relay = cast(Relay, self.server)
        with (
            suppress(OSError),  # one of the two hung up
            socket.create_connection(("127.0.0.1", relay.port_behind)) as behind,
        ):
            behind.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            back = threading.Thread(target=self._answers, args=(behind,), daemon=True)
            back.start()
            try:
                while first := self.rfile.readline():
                    behind.sendall(first + relay.added + self._rest())
            finally:
                behind.shutdown(socket.SHUT_RDWR)
                back.join(10)

    def _rest(self) -> bytes:
        headers = http.client.parse_headers(self.rfile)
        assert "transfer-encoding" not in headers, "the suite says how long its requests are"
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        return f"{lines}\r\n".encode("latin-1") + self.rfile.read(
            int(headers.get("content-length", 0))
        )

    def _answers(self, behind: socket.socket) -> None:
        with suppress(OSError):
            while some := behind.recv(65536):
                self.connection.sendall(some)
            self.connection.shutdown(socket.SHUT_RDWR)
