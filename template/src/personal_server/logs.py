"""How the log looks: one line an event, as text or as JSON, on standard error."""

from __future__ import annotations

import json
import logging
import logging.config
import time
from typing import Any, Literal

from starlette.requests import ClientDisconnect


class JsonLines(logging.Formatter):
    """Formats a record as one JSON object."""

    def format(self, record: logging.LogRecord) -> str:
        """Returns the record with its time in UTC, level, logger and message."""
        line: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created)),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= getattr(record, "event", {})  # an event of personal_auth: its fields
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def not_broken_http(record: logging.LogRecord) -> bool:
    """Tells apart the errors that are a visitor's: anybody could fill the log with them.

    After uvicorn has refused broken HTTP by itself, h11 cannot send the app's answer any more, and
    uvicorn logs that with a traceback as an error of the app. The MCP SDK does the same with a
    client that hangs up while it sends.
    """
    error = record.exc_info[1] if record.exc_info else None
    return type(error).__module__.partition(".")[0] != "h11" and not isinstance(
        error, ClientDisconnect
    )


def configure(log_format: Literal["text", "json"]) -> None:
    """Sends every logger of the server, FastMCP's and uvicorn's included, through one handler."""
    text = {"format": "%(asctime)s %(levelname)-7s %(message)s", "datefmt": "%Y-%m-%d %H:%M:%S"}
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {"text": text, "json": {"()": JsonLines}},
            "filters": {"ours": {"()": lambda: not_broken_http}},
            "handlers": {
                "stderr": {
                    "class": "logging.StreamHandler",
                    "formatter": log_format,
                    "filters": ["ours"],
                }
            },
            "root": {"level": "WARNING", "handlers": ["stderr"]},
            "loggers": {
                "personal_auth": {"level": "INFO"},
                "personal_server": {"level": "INFO"},
                "fastmcp.server.auth": {"level": "ERROR"},  # personal_auth logs what is refused
                "fastmcp": {"level": "WARNING", "handlers": [], "propagate": True},
                # Its warnings are about single requests of anybody's.
                "uvicorn": {"level": "ERROR", "handlers": [], "propagate": True},
                # They log URLs and headers, also where a tool lets the rest say more.
                "httpx2": {"level": "WARNING"},
                "httpcore2": {"level": "WARNING"},
            },
        }
    )
