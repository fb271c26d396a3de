"""The URL of a PostgreSQL database, as libpq writes it, and what asyncpg makes of it.

No sentence repeats a part of the URL: where a special character of the password was not escaped,
any part may be a piece of the password.
"""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

FORM = "postgresql://USER:PASSWORD@HOST:5432/DATABASE"
SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
FILES = ("sslrootcert", "sslcert", "sslkey", "sslcrl")
LONGEST_CONNECT_SECONDS = 60.0
# What libpq takes for itself and asyncpg would send to the server, which refuses it.
CLIENT_ONLY = frozenset(
    (
        "channel_binding",
        "client_encoding",
        "connect_timeout",
        "fallback_application_name",
        "gssdelegation",
        "gssencmode",
        "hostaddr",
        "keepalives",
        "keepalives_count",
        "keepalives_idle",
        "keepalives_interval",
        "load_balance_hosts",
        "max_protocol_version",
        "min_protocol_version",
        "require_auth",
        "requirepeer",
        "requiressl",
        "sslcertmode",
        "sslcompression",
        "sslsni",
        "tcp_user_timeout",
    )
)


class UrlRefused(Exception):
    """The URL cannot be used; the message goes on after the setting's name."""


def arguments(url: str, connect_seconds: float) -> dict[str, Any]:
    """Returns what `asyncpg.connect` is given: `dsn`, `timeout`, and `ssl` where it is decided.

    Raises:
        UrlRefused: It is no URL of a database, or has an option that cannot be used.
    """
    try:
        parts = urlsplit(url.strip())
        options = dict(parse_qsl(parts.query, True, True)) if parts.query else {}
    except ValueError:
        raise UrlRefused(
            f"is no URL: write {FORM}, with @ : / ? # of the password as %40 %3A %2F %3F %23"
        ) from None
    _check_place(url, parts.scheme, parts.netloc)
    _check_options(options)
    given: dict[str, Any] = {"timeout": _seconds(options, connect_seconds)}
    if _trusts_the_system(options):
        given["ssl"] = ssl.create_default_context()
        given["ssl"].set_alpn_protocols(["postgresql"])
        options = {name: options[name] for name in options if name not in ("sslmode", *FILES[:1])}
    kept = {name: value for name, value in options.items() if name not in CLIENT_ONLY}
    query = urlencode(kept, quote_via=quote)
    given["dsn"] = urlunsplit(("postgresql", parts.netloc, parts.path, query, ""))
    return given


def _check_place(url: str, scheme: str, netloc: str) -> None:
    if scheme not in ("postgresql", "postgres"):
        raise UrlRefused(f"is no URL of a PostgreSQL database: write {FORM}")
    user, at, hosts = netloc.rpartition("@")
    if "#" in url or "@" in user or ("@" in url and not at):
        raise UrlRefused(
            "has a special character in its password or elsewhere: write @ as %40, # as %23, / as"
            " %2F and ? as %3F"
        )
    for host in hosts.split(",") if hosts else []:
        port = host.rpartition("]")[2].rpartition(":")
        if port[1] and not (port[2].isascii() and port[2].isdigit() and 0 < int(port[2]) < 65536):
            raise UrlRefused(
                f"has a port that is no number from 1 to 65535: write {FORM}, and special"
                " characters of the password as %XX"
            )


def _check_options(options: dict[str, str]) -> None:
    if options.get("sslmode", "prefer") not in SSL_MODES:
        raise UrlRefused(f"has an unknown sslmode: choose one of {', '.join(SSL_MODES)}")
    for name in FILES:
        system = name == "sslrootcert" and options.get(name) == "system"
        if options.get(name) and not system and not Path(options[name]).is_file():
            raise UrlRefused(
                f"names a file in {name} that is not there: correct its path, which in a container"
                " is the path inside it"
            )
    if "replication" in options:
        raise UrlRefused("asks for replication: remove that option")


def _seconds(options: dict[str, str], default: float) -> float:
    try:
        seconds = float(options.get("connect_timeout") or default)
    except ValueError:
        raise UrlRefused("has a connect_timeout that is no number of seconds") from None
    return min(seconds, LONGEST_CONNECT_SECONDS) if seconds > 0 else default


def _trusts_the_system(options: dict[str, str]) -> bool:
    """Tells whether the certificate is held against the system's authorities, and the host too.

    That is what `sslrootcert=system` asks for. It also stands in for `channel_binding=require`,
    which asyncpg cannot do, where nothing else would verify the server.
    """
    mode, root = options.get("sslmode"), options.get("sslrootcert")
    if root == "system":
        return True
    bound = options.get("channel_binding") == "require"
    return bound and not root and mode not in ("verify-ca", "verify-full")
