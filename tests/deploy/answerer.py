"""A server that answers with events the moment the last byte of a request is there."""

from __future__ import annotations

import socketserver
import sys
import time

EVENT = b"data: {}\n\n"
EVENTS = 3
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"


class Answerer(socketserver.StreamRequestHandler):
    wbufsize = 0

    def handle(self) -> None:
        length = 0
        while (line := self.rfile.readline()) != b"\r\n":
            if not line:
                return  # whoever came has gone
            name, _, value = line.partition(b":")
            length = int(value) if name.lower() == b"content-length" else length
        self.rfile.read(length)
        self.wfile.write(HEAD + EVENT)
        for _ in range(EVENTS - 1):
            time.sleep(0.001)
            self.wfile.write(EVENT)


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 100


if __name__ == "__main__":
    Server(("127.0.0.1", int(sys.argv[1])), Answerer).serve_forever()
