"""Why a token that was just granted is refused."""

from __future__ import annotations

import httpx2


def why_refused(response: httpx2.Response) -> tuple[str, str]:
    """Returns cause and cure of a 401 to a proper token."""
    challenge = response.headers.get("www-authenticate", "")
    if challenge.lower().startswith("basic"):
        return (
            "Before /mcp a proxy asks for a password of its own (WWW-Authenticate: Basic), which no"
            " client has.",
            "Switch the proxy's own login off for /mcp (nginx: auth_basic; Caddy: basic_auth), for"
            " the server asks for a token itself.",
        )
    if "invalid_token" in challenge:
        return (
            "A token that was just granted is refused as unknown.",
            "Run only one copy of the server on one state folder, and let the proxy pass the header"
            " Authorization on unchanged.",
        )
    return (
        "A token that was just granted is answered with 401 as if there were none: the header"
        " Authorization does not arrive.",
        "Let the proxy or tunnel pass the header Authorization on (nginx: remove proxy_set_header"
        ' Authorization ""; Apache: CGIPassAuth On; Cloudflare: Rules > Transform Rules must not'
        " remove it).",
    )
