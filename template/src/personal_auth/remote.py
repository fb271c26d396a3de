"""How a URL becomes a store. The drivers are optional, and imported when a URL needs them."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from personal_auth.errors import StartRefused
from personal_auth.firststart import check_nothing_left, sealer_of
from personal_auth.shared import SharedStore
from personal_auth.statedir import StateDir

REDIS, POSTGRES = "redis", "asyncpg"
DRIVERS = {"redis": REDIS, "rediss": REDIS, "postgresql": POSTGRES, "postgres": POSTGRES}
ANSWERS = {REDIS: "redis", POSTGRES: "postgres"}
EXAMPLES = {
    REDIS: "redis://:password@127.0.0.1:6379/0",
    POSTGRES: "postgresql://user:password@127.0.0.1:5432/database",
}
TLS_FILES = {"ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "sslrootcert", "sslcert", "sslkey"}
OPTIONS = {
    "redis": set(),
    "rediss": {
        "ssl_ca_certs",
        "ssl_certfile",
        "ssl_keyfile",
        "ssl_cert_reqs",
        "ssl_check_hostname",
    },
    "postgresql": {
        "host",
        "sslmode",
        "sslrootcert",
        "sslcert",
        "sslkey",
        "options",
        "target_session_attrs",
    },
}
OPTIONS["postgres"] = OPTIONS["postgresql"]
VALUES = {
    "sslmode": {"disable", "allow", "prefer", "require", "verify-ca", "verify-full"},
    "ssl_cert_reqs": {"none", "optional", "required"},
    "ssl_check_hostname": {"True", "False", "true", "false"},
}


def open_store(url: str) -> SharedStore:
    """Returns the store at a `redis://`, `rediss://` or `postgresql://` URL; it connects later.

    Raises:
        StartRefused: The URL is malformed, or its driver is not installed.
    """
    try:
        check_url(url)
    except ValueError as error:
        raise StartRefused(f"The URL of the store is refused: {error}.") from None
    driver = _driver(url)
    if find_spec(driver) is None:
        raise StartRefused(
            f"The package {driver}, which a store at {_scheme(url)}:// needs, is not installed: run"
            f" `uv add {driver}`, or in a project of the template `uvx copier update --defaults"
            f" --data storage={ANSWERS[driver]}` and then `uv sync`."
        )
    if driver == REDIS:
        from personal_auth.redis_store import RedisStore

        return RedisStore(url, named(url))
    from personal_auth.postgres_store import PostgresStore

    return PostgresStore(url, named(url))


async def reach(url: str, state_dir: Path) -> None:
    """Tries the store at a URL once, for the server of a state directory.

    Raises:
        StartRefused: It answers and refuses, the state is elsewhere, or the URL cannot be used.
        StoreUnavailable: It does not answer now.
    """
    store = open_store(url)
    try:
        await store.reach()
        key = await store.get("key", collection="owner")
        if key is None:
            check_nothing_left(StateDir(state_dir))
        else:
            sealer_of(key)
    finally:
        await store.close()


def check_url(url: str) -> str:
    """Returns the URL of a store.

    Raises:
        ValueError: It is malformed; the message is half a sentence without anything secret.
    """
    scheme = _scheme(url)
    if scheme not in DRIVERS:
        raise ValueError(
            f"it begins with none of redis://, rediss:// and postgresql://, as in {EXAMPLES[REDIS]}"
        )
    example = EXAMPLES[DRIVERS[scheme]]
    try:
        parts = urlsplit(url)
        port = parts.port
        given = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError:
        raise ValueError(f"it cannot be read: {_as_in(example)}") from None
    options = dict(given)
    host = parts.hostname or options.get("host")
    if not host or port == 0 or parts.fragment or "@" in parts.netloc.rpartition("@")[0]:
        raise ValueError(f"it cannot be read: {_as_in(example)}")
    _check_path(DRIVERS[scheme], unquote(parts.path).lstrip("/"), example)
    _check_options(scheme, options)
    return url


def named(url: str) -> str:
    """Returns what a store is called in a sentence: what it is, and where; nothing secret."""
    parts = urlsplit(url)
    host = parts.hostname or dict(parse_qsl(parts.query)).get("host", "")
    shown = f"[{host}]" if ":" in host else host
    kind = "Redis" if _driver(url) == REDIS else "PostgreSQL"
    return f"The {kind} at {shown}{f':{parts.port}' if parts.port else ''}{parts.path.rstrip('/')}"


def _as_in(example: str) -> str:
    return f"write it as in {example}, with @ : / ? # and % in a password as percent codes"


def _check_path(driver: str, path: str, example: str) -> None:
    if driver == REDIS and path and not path.isdecimal():
        raise ValueError(f"a Redis has databases by number: {_as_in(example)}")
    if driver == POSTGRES and (not path or "@" in path or "/" in path):
        raise ValueError(f"it names no database: {_as_in(example)}")


def _check_options(scheme: str, options: dict[str, str]) -> None:
    for name, value in options.items():
        if name not in OPTIONS[scheme]:
            known = ", ".join(sorted(OPTIONS[scheme])) or "none, and TLS needs rediss://"
            raise ValueError(f"it has an option that the driver does not know; it knows {known}")
        if name in VALUES and value not in VALUES[name]:
            raise ValueError(f"{name} must be one of {', '.join(sorted(VALUES[name]))}")
        if name in TLS_FILES and not os.access(value, os.R_OK):
            raise ValueError(f"the file that {name} names cannot be read: correct the path")


def _scheme(url: str) -> str:
    return url.partition("://")[0] if "://" in url else ""


def _driver(url: str) -> str:
    return DRIVERS[_scheme(url)]
