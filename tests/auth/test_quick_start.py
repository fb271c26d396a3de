"""The ten lines of the seed's quick start, unchanged, as a real process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx

TEN_LINES = """\
from fastmcp import FastMCP
from personal_auth import PersonalAuthProvider
auth = PersonalAuthProvider(
base_url="https://your-domain.com", # your public URL
)
mcp = FastMCP(name="my-server", auth=auth)
@mcp.tool
def hello(name: str) -> str:
return f"Hello, {name}!"
mcp.run(transport="streamable-http", host="0.0.0.0", port=8050)
"""
SOURCE = Path(__file__).parents[2] / "template" / "src"


def test_the_quick_start_serves_and_lets_no_stranger_in(tmp_path: Path, unused_port: int) -> None:
    code = TEN_LINES.replace("\nbase_url", "\n    base_url").replace("\nreturn", "\n    return")
    script = tmp_path / "server.py"
    script.write_text(code.replace("port=8050", f"port={unused_port}"))
    server = subprocess.Popen(
        [sys.executable, str(script)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(SOURCE), "FASTMCP_CHECK_FOR_UPDATES": "off"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        client = httpx.Client(base_url=f"http://127.0.0.1:{unused_port}", trust_env=False)
        wait_for(client, server)
        metadata = client.get("/.well-known/oauth-authorization-server").json()
        registered = client.post(
            "/register",
            json={
                "client_name": "test",
                "redirect_uris": ["https://claude.ai/api/mcp/auth_callback"],
            },
        )
        unauthorized = client.get("/mcp")
        resource = client.get("/.well-known/oauth-protected-resource/mcp").json()
        client.close()
    finally:
        server.send_signal(signal.SIGTERM)
        output, _ = server.communicate(timeout=15)

    assert metadata["registration_endpoint"] == "https://your-domain.com/register"
    assert "client_id" in registered.json()
    assert unauthorized.status_code == 401
    assert resource["resource"] == "https://your-domain.com/mcp"
    state = tmp_path / ".oauth-state"
    assert (state / "oauth_tokens.json").is_file()
    assert "initial-password" in output
    assert (state / "initial-password").read_text().strip() not in output


def wait_for(client: httpx.Client, server: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and server.poll() is None:
        try:
            client.get("/")
        except httpx.TransportError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError("the server does not answer")
