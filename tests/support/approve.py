"""A browser that decides by itself, for clients that open one: BROWSER names `browser()`'s script.

As a program it is given the address of the consent page. It returns at once, as a browser does, and
in the background signs in on that page, decides, and follows the redirect to the client.
"""

from __future__ import annotations

import html
import os
import re
import shlex
import ssl
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import httpx

SECONDS = 20


def browser(
    folder: Path, password: str, authority: Path | None = None, decision: str | None = "approve"
) -> str:
    """Writes the script that BROWSER is to name.

    Beside it, `opened` has a line for each address that it was given, and `browser.log` what became
    of each. With no decision it leaves the address to the test.
    """
    script, log = folder / "browser.sh", folder / "browser.log"
    lines = ["#!/bin/sh", f"printf '%s\\n' \"$1\" >> {shlex.quote(str(folder / 'opened'))}"]
    if decision is not None:
        settings = {"OWNER_PASSWORD": password, "OWNER_DECISION": decision, "OWNER_LOG": str(log)}
        settings |= {"SSL_CERT_FILE": str(authority)} if authority else {}
        given = " ".join(f"{name}={shlex.quote(value)}" for name, value in settings.items())
        program = shlex.join([sys.executable, str(Path(__file__).resolve())])
        lines.append(f'{given} exec {program} "$1"')
    script.write_text("\n".join([*lines, ""]))
    script.chmod(0o755)
    return str(script)


def approve(
    address: str,
    password: str,
    decision: str = "approve",
    authority: Path | None = None,
    **more: str,
) -> str:
    """Decides on the consent page at an address; returns where it sends the browser.

    `authority` is the certificate to trust; as a program, SSL_CERT_FILE names it. `more` is what
    else the page's form is to say.

    Raises:
        AssertionError: There is no consent page, or it sends the browser nowhere.
    """
    parts = urlsplit(address)
    origin = f"{parts.scheme}://{parts.netloc}"
    trusted = ssl.create_default_context(cafile=authority)
    with httpx.Client(trust_env=False, verify=trusted, timeout=SECONDS) as client:
        page = client.get(address)
        found = re.search(r'name="ticket" value="([^"]+)"', page.text)
        assert found, f"no consent page, but {page.status_code}: {words(page.text)}"
        form = {"ticket": html.unescape(found[1]), "password": password, "decision": decision}
        form |= more
        answer = client.post(f"{origin}/authorize", data=form, headers={"origin": origin})
    assert answer.status_code == 303, f"not sent on, but {answer.status_code}: {words(answer.text)}"
    return answer.headers["location"]


def words(page: str) -> str:
    """Returns what a person reads on a page."""
    text = re.sub(r"<style>.*?</style>|<[^>]+>", " ", page, flags=re.DOTALL)
    return " ".join(html.unescape(text).split())


def follow(location: str) -> str:
    """Goes to a client's callback, which may not listen yet; returns what it answers."""
    deadline = time.monotonic() + SECONDS
    while True:
        try:
            with httpx.Client(trust_env=False, verify=False) as client:
                return f"{client.get(location).status_code} at {urlsplit(location).path}"
        except httpx.TransportError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def main() -> None:
    if os.fork():
        return
    os.setsid()
    log = os.open(os.environ["OWNER_LOG"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for descriptor in (1, 2):
        os.dup2(log, descriptor)
    os.close(0)
    password, decision = os.environ["OWNER_PASSWORD"], os.environ["OWNER_DECISION"]
    print(follow(approve(sys.argv[1], password, decision)), flush=True)


if __name__ == "__main__":
    main()
