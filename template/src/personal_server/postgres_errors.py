"""What goes wrong with PostgreSQL, each as one sentence with its cause and cure."""

from __future__ import annotations

import socket
import ssl

try:
    import asyncpg  # type: ignore[import-untyped]
except ModuleNotFoundError:
    raise ImportError("asyncpg is not installed: run `uv add asyncpg`") from None
from fastmcp.exceptions import ToolError

LONGEST = 500  # characters of PostgreSQL's own words

LOST = "The connection to PostgreSQL was lost during the call: call the tool again."
LOST_WHILE_WRITING = (
    "The connection to PostgreSQL was lost during the call: look whether the change was made before"
    " you repeat it."
)
READ_ONLY = "This tool only reads, and the statement would change something: use a SELECT."
NO_COPY = "COPY needs a client with files: use SELECT or INSERT."
NO_ROWS = (
    "This tool only reads, and the statement returns no rows: use SELECT, WITH, VALUES, SHOW or"
    " EXPLAIN."
)


class PostgresError(ToolError):
    """The database refuses a call; the message is one sentence with the cause and the cure."""


def cannot_connect(setting: str, error: BaseException) -> str:
    """Returns why there is no connection, without a word of the URL."""
    for kind, sentence in _CONNECTING:
        if isinstance(error, kind):
            return sentence.format(setting)
    return f"{setting} cannot be used to connect: correct it; the server's log has the reason."


def refused_statement(error: BaseException, writable: bool) -> str:
    """Returns what PostgreSQL, or the driver, has against a statement."""
    if isinstance(error, asyncpg.ReadOnlySQLTransactionError) and not writable:
        return READ_ONLY
    if isinstance(error, asyncpg.DataError) and not error.severity:  # the driver's own
        return (
            f"A parameter does not fit its place: {_one_line(str(error))}; give it in that type, or"
            " as text with a cast such as $1::text::date."
        )
    if isinstance(error, asyncpg.PostgresError):
        said, hint = _one_line(error.message or str(error)), _one_line(error.hint or "")
        where = f" at character {error.position}" if error.position else ""
        return f"PostgreSQL refuses the statement ({error.sqlstate}): {said}{where}." + (
            f" Hint: {hint}." if hint else ""
        )
    return (
        "A column has a type that cannot be shown: cast it to text, such as"
        f" column::text ({type(error).__name__})."
    )


def _one_line(text: str) -> str:
    line = " ".join(text.split()).rstrip(".")
    return line if len(line) <= LONGEST else line[:LONGEST] + "…"


_CONNECTING: list[tuple[type[BaseException] | tuple[type[BaseException], ...], str]] = [
    (
        ssl.SSLCertVerificationError,
        "The certificate of the PostgreSQL server cannot be verified: correct sslmode and"
        " sslrootcert in {}.",
    ),
    (
        ssl.SSLError,
        "No TLS could be agreed on with the PostgreSQL server: correct sslmode in {}.",
    ),
    (
        TimeoutError,
        "PostgreSQL did not answer in time: see whether it runs at the host and port in {}, and"
        " that no firewall stands before it.",
    ),
    (socket.gaierror, "The host in {} is not known: correct it."),
    (
        (ConnectionRefusedError, FileNotFoundError),
        "Nothing listens at the host and port in {}: start PostgreSQL there, or correct them.",
    ),
    (
        asyncpg.InvalidPasswordError,
        "PostgreSQL refuses the user or the password in {}: correct them, with special characters"
        " of the password written as %XX.",
    ),
    (
        asyncpg.InvalidAuthorizationSpecificationError,
        "PostgreSQL does not let this user in from here: correct the user and sslmode in {}, or the"
        " server's pg_hba.conf.",
    ),
    (asyncpg.InvalidCatalogNameError, "The database in {} does not exist: correct its name."),
    (
        asyncpg.TooManyConnectionsError,
        "PostgreSQL has no free connection for {}: try again in a minute.",
    ),
    (
        asyncpg.CannotConnectNowError,
        "PostgreSQL at {} is starting or stopping: try again in a minute.",
    ),
    (
        (asyncpg.UndefinedObjectError, asyncpg.InterfaceError),
        "{} has an option that cannot be used: correct what stands behind its question mark.",
    ),
    (
        ConnectionError,
        "What answers at the host and port in {} hangs up or offers no TLS: correct the port or"
        " sslmode.",
    ),
    (OSError, "PostgreSQL cannot be reached at the host and port in {}: correct them."),
]
