"""Where the owner of a server mends what is wrong with it, as cures say it."""

from __future__ import annotations

from personal_verify.project import package
from personal_verify.visit import Visit


def tools_folder(visit: Visit) -> str:
    return f"{package()}/tools" if visit.ours else "the server's code"


def instructions_file(visit: Visit) -> str:
    return f"{package()}/instructions.md" if visit.ours else "the server's instructions"


def extension(visit: Visit) -> str:
    return f"{package()}/extend.py" if visit.ours else "the server's code"


def in_tools(visit: Visit, what: str) -> str:
    """Returns the cure of what is wrong with a tool."""
    return f"In {tools_folder(visit)} {what}, then restart the server."


def in_instructions(visit: Visit, what: str) -> str:
    """Returns the cure of what is wrong with the instructions."""
    return f"In {instructions_file(visit)} {what}, then restart the server."


def named(tools: list[str]) -> str:
    """Returns the names of tools as a cause shows them, at most three."""
    more = f" and {len(tools) - 3} more" if len(tools) > 3 else ""
    return ", ".join(tools[:3]) + more
