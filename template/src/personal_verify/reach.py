"""Can the server be reached, and does it answer itself?"""

from __future__ import annotations

import time

from personal_verify.answers import is_html, json_in, shape
from personal_verify.checks import check, expect, pass_on
from personal_verify.known import RESOURCE_METADATA, SERVER_METADATA
from personal_verify.recognition import how_to_lead_there, recognise
from personal_verify.visit import Visit


@check("reach.health", "The server answers")
def _(visit: Visit) -> str:
    began = time.perf_counter()
    response = visit.get("/healthz")
    took = (time.perf_counter() - began) * 1000
    recognise(visit, response)
    if not visit.ours:
        return f"an MCP server, not made from copier-personal-mcp, after {took:.0f} ms"
    expect(
        response.status_code == 200 and response.text.strip() == "ok",
        f"GET /healthz is answered with {shape(response)}.",
        how_to_lead_there(),
    )
    return f"/healthz says ok after {took:.0f} ms"


@check("reach.json", "No other page stands before it")
def _(visit: Visit) -> str:
    for path in (SERVER_METADATA, f"{RESOURCE_METADATA}/mcp", "/.well-known/nothing-here"):
        response = visit.get(path)
        expect(
            not response.is_redirect,
            f"{path} is redirected to {response.headers.get('location')}.",
            "Set MCP_PUBLIC_URL to the address that it leads to, or switch the redirect off.",
        )
        expect(
            not is_html(response),
            f"{path} gives {shape(response)}, where clients need JSON.",
            "Switch off the challenge, login or warning page for this host (Cloudflare: Security >"
            " WAF, and Zero Trust > Access; ngrok: use a domain of your own).",
        )
        expect(
            response.status_code != 404 or json_in(response) is not None or not visit.ours,
            f"{path} gives {shape(response)} without JSON, which clients try to read.",
            pass_on("the server's own errors"),
        )
    return "no redirect and no HTML"
