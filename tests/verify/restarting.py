"""A command that really restarts the server of a house, as a person's `systemctl restart` does."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

from tests.verify.faults.state import Restarting
from tests.verify.house import House, start

PROGRAM = """\
import sys, urllib.error, urllib.request as web
opener = web.build_opener(web.ProxyHandler({}))
try:
    print(opener.open(sys.argv[1], timeout=60).read().decode())
except urllib.error.HTTPError as error:
    print("Restarting ...")
    print(error.read().decode())
    sys.exit(5)
"""


class Restarter:
    """Restarts a house's server whenever its command is run."""

    def __init__(self, house: House, folder: Path) -> None:
        self.house = house
        self.count = 0
        program = folder / "restart the server.py"
        program.write_text(PROGRAM)
        self._listener = HTTPServer(("127.0.0.1", 0), handler(self.restart))
        url = f"http://127.0.0.1:{self._listener.server_port}/"
        self.command = f'"{sys.executable}" "{program}" {url}'
        threading.Thread(target=self._listener.serve_forever, args=(0.02,), daemon=True).start()

    def restart(self) -> str:
        """Restarts the server as the fault has it; returns what goes wrong."""
        self.count += 1
        fault = self.house.proxy.fault
        if isinstance(fault, Restarting) and fault.failure:
            return fault.failure
        if isinstance(fault, Restarting) and not fault.really:
            fault.away, fault.restarted = 3, True
            return ""
        self.house.server.stop()
        if isinstance(fault, Restarting):
            fault.while_down(self.house.state)
            if not fault.comes_back:
                return ""
        self.house.server = start(self.house.project, self.house.proxy)
        return ""

    def close(self) -> None:
        self._listener.shutdown()
        self._listener.server_close()
        if self.house.server.process.poll() is not None:
            self.house.server = start(self.house.project, self.house.proxy)


def handler(restart: Callable[[], str]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wrong = restart()
            self.send_response(500 if wrong else 200)
            self.end_headers()
            self.wfile.write((wrong or "restarted").encode())

        def log_message(self, *_: object) -> None:
            pass

    return Handler
