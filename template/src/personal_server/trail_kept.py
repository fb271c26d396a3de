"""Which trail is kept, as the settings say."""

from __future__ import annotations

import asyncio
import difflib
from typing import Any

from fastmcp import FastMCP

from personal_auth.trail import TRAIL_FILE, Trail
from personal_server.settings import SettingRefused, Settings


def of(settings: Settings) -> Trail | None:
    """Returns the trail that the settings describe; nothing is opened yet."""
    if not settings.trail_days:
        return None
    return Trail(
        settings.state_dir / TRAIL_FILE,
        days=settings.trail_days,
        megabytes=settings.trail_megabytes,
    )


def check_named(server: FastMCP[Any], settings: Settings) -> None:
    """Looks for the tools whose arguments are to be kept.

    Raises:
        SettingRefused: There is none of such a name.
    """
    if not settings.trail_arguments:
        return
    tools = [tool.name for tool in asyncio.run(server.list_tools(run_middleware=False))]
    for name in settings.trail_arguments:
        if name not in tools:
            close = difflib.get_close_matches(name, tools, 1, 0)
            cure = f": did you mean {close[0]}?" if close else "; there is none at all."
            raise SettingRefused(f"MCP_TRAIL_ARGUMENTS is refused: no tool is named {name!r}{cure}")
