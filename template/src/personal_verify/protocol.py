"""Does it speak MCP, in every revision that clients speak, and as loosely as they do?"""

from __future__ import annotations

from typing import Any

import httpx2

from personal_verify.answers import answer_in, error_code, reaches_mcp, result_in, shape, told
from personal_verify.checks import LOG, UPGRADE, Failed, Skipped, check, expect, pass_on
from personal_verify.eras import beginning, stateless_headers, stateless_params
from personal_verify.known import HANDSHAKE, HEADER_MISMATCH, METHOD_NOT_FOUND, OLDER, STATELESS
from personal_verify.visit import Visit


@check("protocol.token", "A new token opens /mcp", "owner.token")
def _(visit: Visit) -> str:
    response = visit.ask("ping", {})
    expect(
        reaches_mcp(response),
        f"POST /mcp with a new token is answered with {shape(response)}.",
        "Let the proxy or tunnel pass POST /mcp with an Authorization header (Cloudflare: Security"
        " > Events names the rule that stops it), neither redirected nor answered by itself.",
    )
    return "the header Authorization arrives"


@check("protocol.initialize", f"It speaks MCP {HANDSHAKE}", "protocol.token")
def _(visit: Visit) -> str:
    visit.greeting = visit.call("initialize", beginning(HANDSHAKE), mcp_protocol_version="")
    version = visit.greeting.get("protocolVersion")
    agreed = {HANDSHAKE} if visit.ours else {HANDSHAKE, *OLDER}
    expect(version in agreed, f"It chose the revision {version}.", UPGRADE)
    visit.revision = str(version)
    server = visit.greeting.get("serverInfo")
    named = isinstance(server, dict) and isinstance(server.get("name"), str) and server["name"]
    expect(named, "It does not say its name (serverInfo), which clients require.", UPGRADE)
    return f"{version}, as {named}"


@check("protocol.older", "It speaks older revisions too", "protocol.initialize")
def _(visit: Visit) -> str:
    def ask(revision: str) -> httpx2.Response:
        message = {"id": 0, "method": "initialize", "params": beginning(revision)}
        return visit.post_mcp(visit.granted[-1].access, message, mcp_session_id="")

    chosen: dict[str, Any] = {}
    for revision, response in visit.each((*OLDER, "2099-01-01"), ask):
        result = result_in(response)
        expect(
            result is not None,
            f"A client that speaks {revision} is answered with {told(response)}.",
            UPGRADE,
        )
        chosen[revision] = (result or {}).get("protocolVersion")
    for revision in OLDER:
        expect(
            chosen[revision] in ({revision} if visit.ours else OLDER),
            f"A client that speaks {revision} is told to speak {chosen[revision]}.",
            UPGRADE,
        )
    newest = chosen["2099-01-01"]
    known = newest in {HANDSHAKE, *OLDER}
    expect(known, f"A client that is newer than the server is told to speak {newest}.", UPGRADE)
    return ", ".join(OLDER)


@check("protocol.announced", "It announces its tools", "protocol.initialize")
def _(visit: Visit) -> str:
    announced = visit.greeting.get("capabilities")
    expect(
        isinstance(announced, dict) and isinstance(announced.get("tools"), dict),
        "The answer to initialize announces no tools, so clients do not ask for them.",
        UPGRADE,
    )
    return "among its capabilities"


@check("protocol.notification", "It takes notifications", "protocol.initialize")
def _(visit: Visit) -> str:
    message = {"method": "notifications/initialized"}
    response = visit.post_mcp(
        visit.granted[-1].access, message, mcp_protocol_version=visit.revision
    )
    expect(
        response.status_code == 202 and not response.content,
        f"A notification is answered with {shape(response)}, not with 202 and nothing else.",
        pass_on("empty answers"),
    )
    return "202 with an empty body"


@check("protocol.session", "It needs no session id", "protocol.initialize")
def _(visit: Visit) -> str:
    def ask(session: str) -> httpx2.Response:
        return visit.ask("tools/list", {}, mcp_session_id=session)

    if visit.session and not visit.ours:
        raise Skipped(
            "this server keeps sessions; stateless_http=True spares clients that lose them"
        )
    for session, response in visit.each(("", "of-a-server-before-its-restart"), ask):
        sent = "with the session id of another day" if session else "without a session id"
        expect(
            result_in(response) is not None,
            f"A request {sent} is answered with {shape(response)}, and Claude does not carry"
            " session ids reliably.",
            "Let no proxy add the header Mcp-Session-Id, and serve with stateless_http=True, as"
            " `uvx copier update --defaults` restores it.",
        )
    return "asked without one, and with an old one"


@check("protocol.accept", "It answers whoever takes JSON", "protocol.initialize")
def _(visit: Visit) -> str:
    def ask(accepted: str) -> httpx2.Response:
        return visit.ask("ping", {}, accept=accepted)

    answers = dict(visit.each(("*/*", "application/json", "application/json, */*;q=0.1"), ask))
    streams = "event-stream" in answers["*/*"].headers.get("content-type", "").lower()
    if streams and answers["application/json"].status_code == 406:
        del answers["application/json"]  # whoever serves streams need not serve those who cannot
    for accepted, response in answers.items():
        expect(
            result_in(response) is not None,
            f"A request with Accept: {accepted} is answered with {shape(response)}.",
            f"{'Set MCP_RESPONSES=json' if visit.ours else 'Let the server answer with JSON'}, and"
            " let the proxy pass the header Accept on unchanged.",
        )
    return "with event streams" if streams else ", ".join(list(answers)[:2])


@check("protocol.discover", f"It speaks MCP {STATELESS}", "protocol.token")
def _(visit: Visit) -> str:
    method = "server/discover"
    response = visit.ask(method, stateless_params(), **stateless_headers(method))
    code, result = error_code(answer_in(response)), result_in(response)
    expect(
        code != HEADER_MISMATCH,
        f"{method} is answered with {told(response)}.",
        pass_on("the headers Mcp-Method, Mcp-Name and MCP-Protocol-Version"),
    )
    if code == METHOD_NOT_FOUND:
        not_spoken(visit)
    expect(result is not None, f"{method} is answered with {told(response)}.", LOG)
    visit.discovered = result or {}
    versions = visit.discovered.get("supportedVersions")
    known = isinstance(versions, list) and STATELESS in versions
    expect(known, f"supportedVersions is {versions}, without {STATELESS}.", UPGRADE)
    return method


def not_spoken(visit: Visit) -> None:
    """Says why `server/discover` is not known.

    Raises:
        Failed: A header is lost on the way, or the server is too old.
        Skipped: The server is of others; clients then begin with `initialize`.
    """
    if not visit.ours:
        raise Skipped("this server speaks only revisions that begin with initialize")
    odd = visit.ask("ping", {}, mcp_protocol_version="1999-01-01", mcp_session_id="")
    expect(
        not odd.is_success,
        "The header MCP-Protocol-Version does not arrive, so the server takes every client for an"
        " old one.",
        pass_on("the headers MCP-Protocol-Version, Mcp-Method and Mcp-Name"),
    )
    raise Failed(f"server/discover, with which MCP {STATELESS} begins, is not known.", UPGRADE)
