"""The server: FastMCP with the owner's tools behind `personal_auth`."""

from __future__ import annotations

import asyncio
import gc
import importlib
import logging
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from importlib import resources
from importlib.metadata import PackageNotFoundError, version
from types import FrameType
from typing import Any, NoReturn

import anyio
import fastmcp
from fastmcp import FastMCP
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse

from personal_auth import Limits, PersonalAuthProvider, StartRefused, open_store
from personal_auth.calls import Calls
from personal_auth.endpoints import refusal
from personal_auth.errors import StoreUnavailable
from personal_auth.readiness import Readiness
from personal_auth.reading import HeldToReading
from personal_auth.remote import reach
from personal_server import logs, notify, shipped, trail_kept
from personal_server.sentences import OneSentence
from personal_server.settings import Settings, answers, project_root, url_difference
from personal_server.tools import ToolRefused, add_tools
from personal_server.watch import ListedNeverCalled

logger = logging.getLogger("personal_server")

BACKLOG = 2048  # connections that wait while the server starts
SHOWN_FILES = 3  # of those that were changed
BETWEEN_EVENTS_SECONDS = 0.25
STOP_SECONDS = 5  # how long open requests may finish after the signal to stop


def provider(settings: Settings) -> PersonalAuthProvider:
    """Returns the authorization server that the settings describe; nothing is opened yet."""
    return PersonalAuthProvider(
        base_url=settings.public_url,
        password=settings.password,
        allowed_redirect_domains=settings.allowed_redirect_domains,
        access_token_expiry_seconds=settings.access_token_expiry_seconds,
        state_dir=settings.state_dir,
        client_storage=open_store(settings.storage_url) if settings.storage_url else None,
        server_name=answers()["project_name"],
        clients=settings.clients,
        limits=Limits() if settings.client_documents else Limits(document_bytes=0),
        trusted_proxies=settings.trusted_proxies,
        trail=trail_kept.of(settings),
    )


def build(settings: Settings) -> FastMCP[Any]:
    """Returns the server with everything added to it; nothing is opened yet.

    Raises:
        ToolRefused: One of the owner's files cannot be used.
    """
    given, auth = answers(), provider(settings)
    package, prefix = given["package_name"], given["tool_prefix"]
    server: FastMCP[Any] = FastMCP(
        name=given["project_name"],
        instructions=_instructions(package, prefix),
        version=_version(given["project_name"]),
        auth=auth,
        # The first is the outermost. What notes calls stands outside HeldToReading, so that it sees
        # the refused ones; what answers calls stands inside, also what extend.py adds.
        middleware=[
            Calls(auth.trail, auth.service.seen.called, settings.trail_arguments),
            ListedNeverCalled(),
            HeldToReading(auth),
            OneSentence(),
        ],
    )
    add_tools(server, package, prefix)
    streams = settings.responses == "sse"
    server.custom_route("/healthz", methods=["GET"])(_streaming_healthz if streams else _healthz)
    server.custom_route("/readyz", methods=["GET"])(_readyz(auth.service.readiness))
    _extend(server, package)
    return server


def run(settings: Settings) -> None:
    """Serves until a signal to stop.

    Raises:
        ToolRefused: One of the owner's files cannot be used.
        StartRefused: The store refuses; one that does not answer is waited for, with 503.
        SystemExit: The state cannot be used; the reason was printed, the code is 2.
    """
    # Also while it starts, and as process 1 of a container, which no signal ends by itself. What
    # serves takes this over, closes everything, and then raises the signal again.
    signal.signal(signal.SIGTERM, _end)
    logs.configure(settings.log_format)
    fastmcp.settings.check_for_updates = "off"
    server = build(settings)
    trail_kept.check_named(server, settings)
    _try_store(settings)
    listener = listen(settings.host, settings.port)
    _say_where(settings)
    _say_what_was_changed()
    settle()
    with notify.told(settings):
        server.run(
            transport="streamable-http",
            sockets=[listener],
            path="/mcp",
            stateless_http=True,
            json_response=settings.responses == "json",
            show_banner=False,
            # personal_auth stands before every route with a rule for each path; FastMCP's guard has
            # one for all and would refuse the browsers that may use /token.
            host_origin_protection=False,
            uvicorn_config={
                "access_log": False,  # its lines hold query strings
                "log_config": None,
                "proxy_headers": False,
                "ws": "none",
                "server_header": False,
                "timeout_graceful_shutdown": STOP_SECONDS,
            },
        )


def settle() -> None:
    """Lets Python's garbage collector pass over what is there by now, which is there to stay.

    To look through that takes nearly a tenth of a second, in which no call is answered; it would
    come back every few thousand calls.
    """
    gc.freeze()
    gc.enable()


def _try_store(settings: Settings) -> None:
    if settings.storage_url is not None:
        try:
            asyncio.run(reach(settings.storage_url, settings.state_dir))
        except StoreUnavailable as error:  # it may come later, as after a power cut
            logger.warning("%s Until then this server answers 503.", error.description)


def _end(number: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(0)


def listen(host: str, port: int) -> socket.socket:
    """Takes the port.

    Raises:
        StartRefused: It is taken or not ours to take.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio sends small answers without delay only where the protocol is said to be TCP.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise StartRefused(
            f"Port {port} on {host} cannot be used ({error.strerror}): "
            + (
                "correct MCP_HOST."
                if isinstance(error, socket.gaierror)
                else "stop what uses it, or set MCP_PORT to another port."
            )
        ) from error
    return listener


def _say_where(settings: Settings) -> None:
    logger.info(
        "Starting %s/mcp on %s:%d; stop with Ctrl+C.",
        settings.public_url,
        settings.host,
        settings.port,
    )
    if difference := url_difference(settings):
        logger.warning(difference)


def _say_what_was_changed() -> None:
    if changed := shipped.changed(project_root()):
        logger.warning(
            "Changed here, though the template keeps it current: %s. An update may conflict with"
            " the change or lose it; this says what to do: %s doctor",
            ", ".join(changed[:SHOWN_FILES]) + (" and more" if changed[SHOWN_FILES:] else ""),
            answers()["project_name"],
        )


def _instructions(package: str, prefix: str) -> str:
    try:
        text = resources.files(package).joinpath("instructions.md").read_text(encoding="utf-8")
    except (FileNotFoundError, UnicodeDecodeError) as error:
        raise ToolRefused(
            f"src/{package}/instructions.md cannot be read as UTF-8 text: it tells assistants when"
            " to use your tools."
        ) from error
    return text.replace("{prefix}", prefix).strip()


def _version(project: str) -> str:
    try:
        return version(project)
    except PackageNotFoundError:
        return "0"  # run from its sources, without being installed


def _extend(server: FastMCP[Any], package: str) -> None:
    name = f"{package}.extend"
    try:
        module = importlib.import_module(name)
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and error.name == name:
            return  # the owner may delete it
        raise ToolRefused(
            f"src/{package}/extend.py cannot be imported: {type(error).__name__}: {error}."
        ) from error
    try:
        module.extend(server)
    except Exception as error:
        raise ToolRefused(
            f"src/{package}/extend.py failed: {type(error).__name__}: {error}"
        ) from error


async def _healthz(request: Request) -> Response:
    return PlainTextResponse("ok\n")


def _readyz(readiness: Readiness) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        try:
            await readiness.check()
        except StoreUnavailable as error:
            return refusal(error)
        return JSONResponse({"status": "ready"}, headers={"Cache-Control": "no-store"})

    return answer


async def _streaming_healthz(request: Request) -> Response:
    """Sends three events to whoever takes streams, so that verify.py sees what holds them back."""
    if "text/event-stream" not in request.headers.get("accept", ""):
        return await _healthz(request)

    async def events() -> AsyncIterator[str]:
        for _ in range(2):  # the first may pass with the headers where the others are held back
            yield "data: ok\n\n"
            await anyio.sleep(BETWEEN_EVENTS_SECONDS)
        yield "data: ok\n\n"

    unbuffered = {"X-Accel-Buffering": "no", "Cache-Control": "no-store, no-transform"}
    return StreamingResponse(events(), media_type="text/event-stream", headers=unbuffered)
