"""Renders the template with all defaults, starts the result and has its own verify.py prove it."""

import argparse
import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import copier

ROOT = Path(__file__).resolve().parent.parent
UV = str(ROOT / ".venv/bin/uv")
COMMAND = "my-server"  # the default answer to project_name
START_SECONDS = 30
STOP_SECONDS = 10


class DemoError(Exception):
    """The demonstration cannot go on; the message names the cause and the cure."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where the rendered server is put, and stays")
    folder = parser.parse_args().folder.resolve()
    began = time.monotonic()
    try:
        render(folder)
        run("Installing its dependencies", [UV, "sync", "--quiet"], folder)
        code = serve_and_verify(folder, free_port())
    except DemoError as error:
        print(f"The demo stopped. {error}", file=sys.stderr)
        return 1
    result = "Everything passed" if code == 0 else f"verify.py ended with exit code {code}"
    print(f"{result} after {time.monotonic() - began:.0f} s. The server stays in {folder}")
    return code


def render(folder: Path) -> None:
    """Render anew: an earlier demo is removed, anything else in that place is left alone."""
    step(f"Rendering the template into {folder}")
    if folder.exists():
        if any(folder.iterdir()) and not (folder / ".copier-answers.yml").is_file():
            raise DemoError(f"{folder} holds something else: name another place with DEMO_DIR=...")
        shutil.rmtree(folder)
    copier.run_copy(
        str(ROOT), folder, vcs_ref="HEAD", defaults=True, overwrite=True, quiet=True, unsafe=False
    )


def run(what: str, command: list[str], folder: Path) -> None:
    step(what)
    process = subprocess.Popen(
        command, cwd=folder, env=environment(), stderr=subprocess.PIPE, text=True
    )
    while process.returncode is None:
        try:
            _, said = process.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            step(f"{what}, still at it")
    if process.returncode != 0:
        raise DemoError(f"{what} failed; is the package index reachable?\n{said.strip()}")


def serve_and_verify(folder: Path, port: int) -> int:
    url = f"http://localhost:{port}"
    step(f"Starting it at {url}")
    log = folder.with_name(f"{folder.name}.log")
    settings = environment(MCP_PORT=str(port), MCP_PUBLIC_URL=url)
    with log.open("w") as output:
        server = subprocess.Popen(
            [UV, "run", COMMAND],
            cwd=folder,
            env=settings,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            wait_until_healthy(server, port, log)
            step("Verifying it as its owner, and as a stranger")
            return verify(folder, url)
        finally:
            step("Stopping it")
            stop(server)


def wait_until_healthy(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    for second in range(START_SECONDS):
        for _ in range(10):
            if server.poll() is not None:
                raise DemoError(
                    f"The server ended with exit code {server.returncode}. It said:\n{tail(log)}"
                )
            if healthy(port):
                return
            time.sleep(0.1)
        step(f"Waiting for /healthz, {second + 1} s")
    raise DemoError(
        f"No answer from /healthz in {START_SECONDS} s. Is the computer very busy? The server"
        f" said:\n{tail(log)}"
    )


def healthy(port: int) -> bool:
    connection = http.client.HTTPConnection("localhost", port, timeout=2)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def verify(folder: Path, url: str) -> int:
    password = folder / ".oauth-state" / "initial-password"
    if not password.is_file():
        raise DemoError(
            f"{password} is missing, where the server writes the password that it makes. Is"
            " MCP_PASSWORD set? Unset it for the demo."
        )
    command = [UV, "run", "verify.py", url, "--password-file", str(password)]
    return subprocess.run(command, cwd=folder, env=environment()).returncode


def stop(server: subprocess.Popen[bytes]) -> None:
    """End the server and what it started: first asked, then forced."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(server.pid, number)
            server.wait(STOP_SECONDS)
            return
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue


def environment(**settings: str) -> dict[str, str]:
    """The environment without settings of another server and without an active venv."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("MCP_") and name != "VIRTUAL_ENV"
    }
    return kept | settings


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-20:])


def step(text: str) -> None:
    print(f"- {text} ...", flush=True)


if __name__ == "__main__":
    sys.exit(main())
