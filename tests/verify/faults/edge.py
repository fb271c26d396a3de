"""Ways in which a proxy or tunnel treats clients differently."""

from __future__ import annotations

from tests.verify.faults.making import Answering, Changing, Site, at, breaks, without
from tests.verify.proxy import Answer, Fault, html_answer


@breaks("edge.agents", "the edge blocks Claude")
def _(site: Site) -> Fault:
    return Answering(
        lambda asked: asked.headers.get("user-agent") == "Claude-User",
        lambda asked: html_answer(403, "Attention Required!"),
    )


@breaks("edge.cors", "the proxy answers OPTIONS itself")
def _(site: Site) -> Fault:
    return Answering(lambda asked: asked.method == "OPTIONS", lambda asked: Answer(405))


@breaks("edge.cors", "browsers may not read the challenge")
def _(site: Site) -> Fault:
    return Changing(at("/mcp"), without("access-control-expose-headers"))
