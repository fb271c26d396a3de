"""Does it speak MCP, and do its answers have the form that clients need?"""

from __future__ import annotations

from personal_verify.answers import shape
from personal_verify.checks import UPGRADE, check, expect, pass_on
from personal_verify.known import HANDSHAKE, NAME, STATELESS
from personal_verify.visit import Visit


@check("protocol.initialize", f"It speaks MCP {HANDSHAKE}", "owner.token")
def _(visit: Visit) -> str:
    client = {"name": NAME, "version": "1"}
    params = {"protocolVersion": HANDSHAKE, "capabilities": {}, "clientInfo": client}
    result = visit.call("initialize", params)
    version = result.get("protocolVersion")
    expect(version == HANDSHAKE, f"It chose the revision {version}.", UPGRADE)
    visit.instructions = str(result.get("instructions") or "").strip()
    expect(
        visit.instructions,
        "There are no instructions, so assistants are not told when to use the tools.",
        "Write instructions.md in your package below src, then restart the server.",
    )
    return f"instructions of {len(visit.instructions)} characters"


@check("protocol.notification", "It takes notifications", "protocol.initialize")
def _(visit: Visit) -> str:
    message = {"method": "notifications/initialized"}
    response = visit.post_mcp(visit.granted[-1].access, message, mcp_protocol_version=HANDSHAKE)
    expect(
        response.status_code == 202 and not response.content,
        f"A notification is answered with {shape(response)}, not with 202 and nothing else.",
        pass_on("empty answers"),
    )
    return "202 with an empty body"


@check("protocol.discover", f"It speaks MCP {STATELESS}", "owner.token")
def _(visit: Visit) -> str:
    named = "io.modelcontextprotocol/"
    meta = {
        f"{named}protocolVersion": STATELESS,
        f"{named}clientInfo": {"name": NAME, "version": "1"},
        f"{named}clientCapabilities": {},
    }
    headers = {"mcp_protocol_version": STATELESS, "mcp_method": "server/discover"}
    versions = visit.call("server/discover", {"_meta": meta}, **headers).get("supportedVersions")
    known = isinstance(versions, list) and STATELESS in versions
    expect(known, f"supportedVersions is {versions}, without {STATELESS}.", UPGRADE)
    return "server/discover"
