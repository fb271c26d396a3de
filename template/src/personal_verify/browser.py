"""The person's own browser: it is sent to a page, and comes back to a port of this computer."""

from __future__ import annotations

import hmac
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from queue import Empty, Queue
from socketserver import ThreadingTCPServer
from urllib.parse import parse_qsl, urlsplit

from personal_verify.checks import Failed, expect
from personal_verify.known import NAME
from personal_verify.visit import Visit

WAIT_SECONDS = 5 * 60.0
WAIT_AFTER_STRAY_SECONDS = 60.0
PATH = "/callback"
FORM_BYTES = 64 * 1024  # what a server that repeats the POST may send
PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{name}</title>
<meta name="viewport" content="width=device-width"></head>
<body><p>{text}</p></body></html>
"""
DONE = "You can close this window."
STRAY = f"This is not the answer that {NAME} waits for."


@dataclass(frozen=True)
class Return:
    """What a browser brings back to the client, and by which method it comes."""

    answer: dict[str, str]
    method: str


class Listener(ThreadingTCPServer):
    """Waits on a free port of the loopback for an answer that carries its state."""

    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Caller)
        self.callback = f"http://127.0.0.1:{self.server_address[1]}{PATH}"
        self.state = secrets.token_urlsafe(24)
        self.returned: Queue[Return] = Queue()
        self.stray = False  # an answer came without the state

    def handle_error(self, request: object, client_address: object) -> None:
        """Says nothing of callers that break off or do not speak HTTP."""


class Caller(BaseHTTPRequestHandler):
    """Answers one request to the listener; whoever is silent is not waited for."""

    server: Listener
    timeout = 10
    server_version, sys_version = NAME, ""

    def do_GET(self) -> None:
        self.judge()

    def do_POST(self) -> None:
        length = self.headers.get("content-length", "")
        self.rfile.read(min(int(length) if length.isdigit() else 0, FORM_BYTES))
        self.judge()

    def judge(self) -> None:
        given = self.answer_given()
        if given is None:
            self.show(404, STRAY)
        elif hmac.compare_digest(given.get("state", "").encode(), self.server.state.encode()):
            self.show(200, DONE)
            self.server.returned.put(Return(given, self.command))
        else:
            self.server.stray = True
            self.show(400, STRAY)

    def answer_given(self) -> dict[str, str] | None:
        """Returns the answer that a request carries, None when it is no answer."""
        try:
            where = urlsplit(self.path)
            pairs = parse_qsl(where.query, keep_blank_values=True, max_num_fields=20)
        except ValueError:
            return None
        answer = dict(pairs)
        whole = len(answer) == len(pairs) and bool({"code", "error"} & set(answer))
        return answer if whole and where.path == PATH else None

    def show(self, status: int, text: str) -> None:
        page = PAGE.format(name=NAME, text=text).encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(page)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
        self.send_header("Referrer-Policy", "no-referrer")
        self.end_headers()
        self.wfile.write(page)

    def log_message(self, *_: object) -> None:
        """Says nothing: the requests hold the code."""


@contextmanager
def listening() -> Iterator[Listener]:
    """Listens as long as the block runs."""
    with Listener() as listener:
        serving = threading.Thread(target=listener.serve_forever, args=(0.05,), daemon=True)
        serving.start()
        try:
            yield listener
        finally:
            listener.shutdown()
            serving.join()


def send_to(visit: Visit, address: str) -> None:
    """Opens an address in the person's browser, and prints it for one that does not open."""
    visit.tell("Your browser opens now; if it does not, open this address on this computer:")
    visit.tell(address)
    # A process of its own: some browsers print to stdout, where JSON may go, or stay in front.
    command = [sys.executable, "-I", "-m", "webbrowser", address]
    silent = subprocess.DEVNULL

    def run() -> None:
        subprocess.run(  # noqa: S603 - the address is one argument, of no shell
            command, stdin=silent, stdout=silent, stderr=silent, check=False
        )

    threading.Thread(target=run, daemon=True).start()


def wait_for(visit: Visit, listener: Listener) -> Return:
    """Returns what the browser brings back.

    Raises:
        Failed: Nothing came in time.
    """
    deadline, stray = time.monotonic() + WAIT_SECONDS, False
    while (left := deadline - time.monotonic()) > 0:
        clock = f"{int(left) // 60}:{int(left) % 60:02}"
        visit.say(f"Waiting until you approve in your browser, {clock} left (Ctrl+C stops)")
        try:
            return listener.returned.get(timeout=min(left, 0.5))
        except Empty:
            if listener.stray and not stray:  # the person sees no other page any more
                stray = True
                deadline = min(deadline, time.monotonic() + WAIT_AFTER_STRAY_SECONDS)
    expect(
        not stray,
        "The browser came back without the state that was sent, so its answer was not used.",
        "Start again; if it happens again, the server or its proxy does not send `state` back.",
    )
    raise Failed(
        f"Nobody approved in the browser within {WAIT_SECONDS / 60:.0f} minutes.",
        "Start again and open the address in a browser on this computer, or give the password"
        " with --password-file.",
    )
