"""Finding the tools: every public module below `<package>.tools`, prefixed by construction.

What FastMCP's decorators marked in a module is added under the server's prefix. A file that cannot
be imported, a name used twice or a tool without a description stops the start: a tool that is
silently missing is harder to find than a server that says why it did not start.
"""

from __future__ import annotations

import importlib
import inspect
import logging
import pkgutil
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from fastmcp import FastMCP
from fastmcp.decorators import get_fastmcp_meta
from fastmcp.prompts.function_prompt import PromptMeta
from fastmcp.resources.function_resource import ResourceMeta
from fastmcp.server.providers import LocalProvider
from fastmcp.tools.function_tool import ToolMeta

logger = logging.getLogger("personal_server")

NOTHING_MARKED = (
    "{file} holds no tool: put @tool, from fastmcp.tools, before its function. A file of helpers"
    " begins with an underscore."
)


class ToolRefused(Exception):
    """A tool file stops the start; the message is the one sentence its owner reads."""


def add_tools(server: FastMCP[Any], package: str, prefix: str) -> int:
    """Adds all tools, resources and prompts of `<package>.tools`; returns how many tools.

    Raises:
        ToolRefused: A file cannot be used; the message names it.
    """
    provider = LocalProvider(on_duplicate="error")
    seen: dict[str, str] = {}
    for module in _modules(f"{package}.tools"):
        file, marked = _file(module), list(_marked(module))
        if not marked and not hasattr(module, "__path__"):
            logger.warning("%s", NOTHING_MARKED.format(file=file))
        for function, meta in marked:
            try:
                if isinstance(meta, ToolMeta):
                    _accept(function, meta, file, seen)
                    provider.add_tool(function)
                elif isinstance(meta, ResourceMeta):
                    provider.add_resource(function)
                elif isinstance(meta, PromptMeta):
                    provider.add_prompt(function)
            except ToolRefused:
                raise
            except Exception as error:  # whatever a schema cannot be made of
                raise ToolRefused(f"{file} cannot be used: {_one_line(error)}") from error
    server.add_provider(provider, namespace=prefix)
    logger.info("Tools: %s.", ", ".join(f"{prefix}_{name}" for name in sorted(seen)) or "none yet")
    return len(seen)


def _modules(package_name: str) -> Iterator[ModuleType]:
    package = _import(package_name)
    found = pkgutil.walk_packages(package.__path__, f"{package_name}.", onerror=_import)
    for name in sorted(info.name for info in found):
        if not any(part.startswith("_") for part in name.split(".")):
            yield _import(name)


def _import(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:  # whatever a person's file may raise
        path = name.replace(".", "/")
        reason = f"{type(error).__name__}: {_one_line(error)}"
        raise ToolRefused(f"src/{path}.py cannot be imported: {reason}") from error


def _marked(module: ModuleType) -> Iterator[tuple[Any, Any]]:
    for _, value in inspect.getmembers(module, callable):
        meta = get_fastmcp_meta(value)
        if meta is not None and getattr(value, "__module__", None) == module.__name__:
            yield value, meta


def _accept(function: Any, meta: ToolMeta, file: str, seen: dict[str, str]) -> None:
    name = meta.name or function.__name__
    if not (meta.description or inspect.getdoc(function) or "").strip():
        raise ToolRefused(
            f"The tool {name} in {file} has no description: give its function a docstring that"
            " says when to use it."
        )
    other = seen.setdefault(name, file)
    if other != file:
        raise ToolRefused(f"The tool {name} is in {file} and in {other}: rename one of them.")


def _file(module: ModuleType) -> str:
    return f"src/{module.__name__.replace('.', '/')}.py"


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()).rstrip(".") + "."
