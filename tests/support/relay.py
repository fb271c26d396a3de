"""A way to a port that can fall silent, as when a router forgets connections, or hang up."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class Relay:
    """Passes connections on to a port."""

    def __init__(self, behind: int) -> None:
        self._behind = behind
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._lost = threading.Event()  # of the connections that were opened last
        self._open: list[socket.socket] = []
        self._unanswered = b""
        threading.Thread(target=self._accept, daemon=True).start()

    def fall_silent(self) -> None:
        """Lets nothing more through, and no end either, on the connections that are open."""
        self._lost.set()
        self._lost = threading.Event()

    def lose_the_answer(self, word: bytes) -> None:
        """Passes on the next request with a word in it, and hangs up instead of its answer."""
        self._unanswered = word

    def close(self) -> None:
        for each in [self._listener, *self._open]:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self._behind))
                self._open += [near, far]
                cut = threading.Event()
                for source, sink in ((near, far), (far, near)):
                    ends = source, sink, self._lost, cut, source is near
                    threading.Thread(target=self._pass_on, args=ends, daemon=True).start()

    def _pass_on(
        self,
        source: socket.socket,
        sink: socket.socket,
        lost: threading.Event,
        cut: threading.Event,
        asks: bool,
    ) -> None:
        with suppress(OSError):
            while some := source.recv(65536):
                if asks and self._unanswered and self._unanswered in some:
                    self._unanswered = b""
                    cut.set()
                if cut.is_set() and not asks:
                    sink.shutdown(socket.SHUT_RDWR)
                    return
                if not lost.is_set():
                    sink.sendall(some)
            if not lost.is_set():
                sink.shutdown(socket.SHUT_WR)


@contextmanager
def relayed(port: int) -> Iterator[Relay]:
    relay = Relay(port)
    try:
        yield relay
    finally:
        relay.close()
