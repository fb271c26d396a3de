"""What does it answer to requests that are wrong?"""

from __future__ import annotations

import re
from typing import Any

import httpx2

from personal_verify.answers import answer_in, error_code, is_html, plain, shape
from personal_verify.checks import UPGRADE, check, expect, pass_on
from personal_verify.eras import stateless_headers, stateless_params
from personal_verify.known import METHOD_NOT_FOUND
from personal_verify.mending import extension
from personal_verify.unreachable import TIMEOUT_SECONDS
from personal_verify.visit import Visit

UNKNOWN = "verify/no-such-method"
NO_TOOL = "verify_no_such_tool"
BROKEN_JSON = b'{"jsonrpc": "2.0", "id": 1, "method": '

LEAKS = {
    "a traceback": r'Traceback \(most recent call last\)|\bFile "[^"]+", line \d+|\.py:\d+\b',
    "a path on its computer": (
        r"(?:^|[\s'\"(=])/(?:app|etc|home|mnt|opt|private|root|srv|tmp|usr|var|Users)/[\w.-]+"
        r"|\b[A-Za-z]:\\{1,2}(?:Users|Program)|site-packages"
    ),
    "a password": r"\b[a-z][a-z0-9+.-]{0,20}://[^\s:/@]{0,99}:[^\s:/@]{1,99}@",
    "a token": r"\b(?:pat|prt|pac)_[\w-]{16,}|\bBearer [\w.~+/-]{16,}",
    "a file of its computer": r"root:[^:]*:0:0:",
}


@check("protocol.errors", "Errors have the form clients read", "protocol.initialize")
def _(visit: Visit) -> str:
    wrong: dict[str, dict[str, Any]] = {
        "an unknown method": {**visit.message(UNKNOWN), "id": "verify"},
        "an unknown method with the id 0": {**visit.message(UNKNOWN), "id": 0},
        "an unknown tool": visit.message("tools/call", name=NO_TOOL, arguments={}),
        "broken JSON": {},
    }
    for what, response in visit.each(wrong, lambda what: send_wrong(visit, wrong[what])):
        expect(
            response.status_code < 500 and not is_html(response),
            f"A request with {what} is answered with {shape(response)}.",
            pass_on("the server's own errors"),
        )
        fault = fault_of_error(what, response)
        expect(not fault, f"The answer to {what} {fault}, so clients cannot read it.", UPGRADE)
    return f"{len(wrong)} kinds, {METHOD_NOT_FOUND} for unknown methods"


def fault_of_error(what: str, response: httpx2.Response) -> str:
    """Returns what is wrong with the answer to a wrong request (JSON-RPC 2.0 §5)."""
    if what == "broken JSON":
        return "" if response.status_code == 400 else f"has status {response.status_code}, not 400"
    answer = answer_in(response)
    if answer is None:
        return "is no JSON-RPC message"
    if answer.get("jsonrpc") != "2.0" or answer.get("id") is None:
        return "lacks jsonrpc or the id of the request"
    result = answer.get("result")
    if what == "an unknown tool" and isinstance(result, dict) and result.get("isError") is True:
        return ""
    code, error = error_code(answer), answer.get("error")
    if not isinstance(code, int) or not isinstance((error or {}).get("message"), str):
        return "is no error with a code and a message"
    if what != "an unknown tool" and code != METHOD_NOT_FOUND:
        return f"has the code {code}, not {METHOD_NOT_FOUND}"
    return ""


@check("protocol.leaks", "Errors give nothing away", "protocol.initialize")
def _(visit: Visit) -> str:
    wrong: list[dict[str, Any]] = [
        {},
        visit.message(UNKNOWN),
        visit.message("tools/list", cursor="verify"),
        visit.message("tools/call", name=NO_TOOL, arguments="verify"),
        visit.message("tools/call", name=["verify"]),
        visit.message("prompts/get", name="verify"),
        visit.message("resources/read", uri="file:///etc/passwd"),
        visit.message("tools/call", **stateless_params(name=NO_TOOL)),
    ]
    for message, response in visit.each(wrong, lambda message: send_wrong(visit, message)):
        text = response.text.replace("file:///etc/passwd", "")
        found = leak_in(text, visit)
        expect(
            not found,
            f"An error ({message.get('method', 'of broken JSON')}) shows {found}.",
            f"In {extension(visit)} look for what answers with an exception or a file as it is, and"
            " let it raise ToolError with a sentence.",
        )
    return f"{len(wrong)} wrong requests"


def leak_in(text: str, visit: Visit) -> str:
    """Returns what a text gives away, shown without the secret itself."""
    mine = {tokens.access for tokens in visit.granted} | {visit.proof.password or ""}
    if any(secret and secret in text for secret in mine):
        return "a secret that was sent to it"
    for what, pattern in LEAKS.items():
        if found := re.search(pattern, text, re.MULTILINE):
            shown = what in {"a traceback", "a path on its computer"}
            return f"{what} ({plain(found[0])})" if shown else what
    return ""


def send_wrong(visit: Visit, message: dict[str, Any]) -> httpx2.Response:
    """Sends a message that nobody should send; broken JSON for none."""
    access = visit.granted[-1].access
    if message and "_meta" in message["params"]:
        named = stateless_headers(message["method"], "another")
        return visit.post_mcp(access, message, TIMEOUT_SECONDS, **named)
    if message:
        return visit.post_mcp(access, message, mcp_protocol_version=visit.revision)
    headers = {
        "accept": "application/json, text/event-stream",
        "authorization": f"Bearer {access}",
        "content-type": "application/json",
        "mcp-protocol-version": visit.revision,
    }
    return visit.send("POST", "/mcp", content=BROKEN_JSON, headers=headers)
