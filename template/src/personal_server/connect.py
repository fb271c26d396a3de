"""How each client is connected: the page that docs/clients.md is too, for the settings in force."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import jinja2

from personal_auth.identity import LOOPBACK_HOSTS, Identity
from personal_server.settings import (
    CLIENT_DOMAINS,
    SettingRefused,
    Settings,
    answers,
    domains_of,
)

PAGE = Path(__file__).parent / "clients.md"
OTHER = "Other clients"


def instructions(settings: Settings, client: str = "") -> str:
    """Returns the page, or what it says of the clients that a word means.

    Raises:
        SettingRefused: No client is called like that.
    """
    name, url = answers()["project_name"], settings.public_url
    whole = page(name, url, _may_connect(settings.allowed_redirect_domains))
    if not client:
        return whole
    wanted = _meant(client, list(_sections(page(name, url, list(CLIENT_DOMAINS)))))
    found = _sections(whole)
    return "\n".join(found[heading] for heading in wanted if heading in found) or found[OTHER]


def qr_code(public_url: str) -> str:
    """Returns the address as a QR code for this terminal.

    Raises:
        SettingRefused: A phone does not reach the address, or the terminal cannot show it.
    """
    from personal_server import qr

    identity = Identity.of(public_url)
    if identity.host in LOOPBACK_HOSTS:
        raise SettingRefused(
            f"A phone does not reach {public_url}, which is only this computer: docs/deploying.md"
            " says how to get an address that it reaches."
        )
    return f"{qr.drawn(identity.resource, sys.stdout)}\n{identity.resource}"


def page(project_name: str, public_url: str, clients: Sequence[str]) -> str:
    """Returns the page as Copier renders it; `clients` are those that may connect."""
    environment = jinja2.Environment(  # noqa: S701 - Markdown
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
    )
    template = environment.from_string(PAGE.read_text(encoding="utf-8"))
    return template.render(project_name=project_name, public_url=public_url, clients=clients)


def _may_connect(allowed: Sequence[str]) -> list[str]:
    """Returns the answers to the question `clients` whose redirect domains are allowed."""
    chosen: list[str] = answers()["clients"]
    if tuple(allowed) == domains_of(chosen):
        return chosen
    return [client for client, domains in CLIENT_DOMAINS.items() if domains[0] in allowed]


def _sections(text: str) -> dict[str, str]:
    parts = text.split("\n## ")[1:]
    return {part.partition("\n")[0]: f"## {part.strip()}\n" for part in parts}


def _meant(word: str, headings: Iterable[str]) -> list[str]:
    """Returns the headings that "claude-code", "vscode" or "mcp-remote" mean."""
    word, known = _letters(word), {_letters(heading): heading for heading in headings}
    if word in known:
        return [known[word]]
    found = [heading for letters, heading in known.items() if word and word in letters]
    if not found:
        raise SettingRefused(f"Name one of these, or a part of it: {', '.join(known.values())}.")
    return found


def _letters(text: str) -> str:
    return re.sub(r"[^a-z0-9]", "", text.lower())
