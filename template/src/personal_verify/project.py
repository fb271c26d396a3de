"""What the project in which verify.py lies says: its command, its settings, its public URL."""

from __future__ import annotations

import os
import re
import tomllib
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from personal_verify.checks import CannotRun

FOLDER = Path(__file__).resolve().parents[2]  # holds src


def command() -> str:
    """Returns the name of the server's command, as pyproject.toml beside this file has it."""
    with suppress(OSError, ValueError, AttributeError, StopIteration):
        project = tomllib.loads((FOLDER / "pyproject.toml").read_text("utf-8"))["project"]
        return str(next(iter(project.get("scripts", {}))))
    return "my-server"


def package() -> str:
    """Returns the folder of the owner's package, as it is written in a cure."""
    sources = FOLDER / "src"
    found = sorted(file.parent.name for file in sources.glob("*/instructions.md"))
    return f"src/{found[0]}" if found else "your package below src"


def public_url(argument: str | None) -> str:
    """Returns the public URL without a trailing slash.

    Raises:
        CannotRun: There is none, or it is no address of a server.
    """
    given = (argument or default_url()).strip()
    if "@" in given:
        raise CannotRun("the URL must not hold a name or a password.")
    if not given:
        raise CannotRun("give the public URL, for example https://mcp.example.com.")
    try:
        parts = urlsplit(given)
        port = parts.port
    except ValueError:
        raise CannotRun(f"{given!r} is no URL, such as https://mcp.example.com.") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise CannotRun(
            f"{given!r} must begin with https://, such as https://mcp.example.com, or with http://"
            " on this computer."
        )
    if parts.path.rstrip("/") not in {"", "/mcp"} or parts.query or parts.fragment:
        raise CannotRun(f"{given!r} has a path: give only {parts.scheme}://{parts.netloc}.")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    shown = "" if port in {None, {"http": 80, "https": 443}[parts.scheme]} else f":{port}"
    return f"{parts.scheme}://{host}{shown}"


def default_url() -> str:
    """Returns what the settings say; on this computer the URL follows the port, as the server's."""
    url, example = setting("MCP_PUBLIC_URL"), settings_in(".env.example", "#?")
    url = url or example.get("MCP_PUBLIC_URL", "")
    port = setting("MCP_PORT")
    if port and url == example.get("MCP_PUBLIC_URL") and url.startswith("http://localhost:"):
        return f"http://localhost:{port}"
    return url


def setting(name: str) -> str:
    return os.environ.get(name) or settings_in(".env").get(name, "")


def settings_in(file: str, mark: str = "") -> dict[str, str]:
    """Returns the lines NAME=value of a file beside this one, behind a mark."""
    try:
        text = (FOLDER / file).read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError):
        return {}
    line = rf"^\s*{mark}(?:export\s+)?(\w+)\s*=[ \t]*(.*?)\s*$"
    lines = re.findall(line, text, re.MULTILINE)
    return {name: unquoted(value) for name, value in lines}


def unquoted(value: str) -> str:
    quoted = re.match(r"(['\"])(.*?)\1", value)
    return quoted[2] if quoted else re.split(r"\s#", value)[0].strip()


def is_loopback(url: str) -> bool:
    return (urlsplit(url).hostname or "") in {"localhost", "127.0.0.1", "::1"}
