"""What answers in the server's place is recognised, and its own cure is named."""

from __future__ import annotations

import re

import httpx2
import pytest

from personal_verify.fingerprints import PRINTS, recognised, told_apart

CLOUDFLARE = {"server": "cloudflare"}
LOGIN = "https://team.cloudflareaccess.com/cdn-cgi/access/login/mcp.example.com"
ANSWERS = {
    "a login of Cloudflare Access": (302, {**CLOUDFLARE, "location": LOGIN}, "", "Access >"),
    "a challenge": (403, {**CLOUDFLARE, "cf-mitigated": "challenge"}, "", "Bot Fight Mode"),
    "error 1010": (403, CLOUDFLARE, "error code: 1010", "Browser Integrity"),
    "error 1020": (403, CLOUDFLARE, "<p>Error 1020</p>", "Security > Events"),
    "error 1009": (403, CLOUDFLARE, "error code: 1009", "160.79.104.0/21"),
    "error 1015": (429, CLOUDFLARE, "error code: 1015", "Rate limiting"),
    "error 1033": (530, CLOUDFLARE, "error code: 1033", "cloudflared tunnel info"),
    "Cloudflare with nothing behind": (502, CLOUDFLARE, "", "Start the server"),
    "Cloudflare without TLS behind": (526, CLOUDFLARE, "", "SSL/TLS"),
    "Cloudflare's block of bots": (403, CLOUDFLARE, "<title>Attention", "Block AI bots"),
    "ngrok's warning": (200, {"ngrok-error-code": "ERR_NGROK_6024"}, "", "Visit Site"),
    "ngrok without its agent": (404, {"ngrok-error-code": "ERR_NGROK_3200"}, "", "Start ngrok"),
    "ngrok with nothing behind": (502, {"ngrok-error-code": "ERR_NGROK_8012"}, "", "Start the"),
    "ngrok with no web server behind": (
        502,
        {"ngrok-error-code": "ERR_NGROK_3004"},
        "",
        "point ngrok at its port",
    ),
    "ngrok's plan used up": (403, {"ngrok-error-code": "ERR_NGROK_727"}, "", "counts anew"),
    "another error of ngrok": (403, {"ngrok-error-code": "ERR_NGROK_1"}, "", "traffic policy"),
    "localtunnel's reminder": (511, {}, "", "another tunnel"),
    "Tailscale with nothing behind": (502, {}, "", "tailscale funnel status"),
    "nginx with a password": (401, {"server": "nginx/1.27"}, "", "auth_basic off"),
    "nginx against bots": (403, {"server": "nginx"}, "", "$http_user_agent"),
    "nginx with a small limit": (413, {"server": "nginx"}, "", "client_max_body_size"),
    "nginx with a rate limit": (503, {"server": "openresty"}, "", "limit_req"),
    "nginx with nothing behind": (502, {"server": "nginx"}, "", "proxy_pass"),
    "Caddy with a password": (401, {"server": "Caddy"}, "", "basic_auth"),
    "Caddy with nothing behind": (502, {"server": "Caddy"}, "", "reverse_proxy"),
    "mod_security": (406, {"server": "Apache/2.4"}, "", "mod_security"),
    "AWS": (403, {"server": "CloudFront"}, "", "web ACL"),
    "a bot protection": (403, {"server": "AkamaiGHost"}, "", "bot protection"),
}


def answer(status: int, headers: dict[str, str], text: str) -> httpx2.Response:
    request = httpx2.Request("GET", "https://mcp.tailnet.ts.net/mcp")
    return httpx2.Response(status, headers=headers, text=text, request=request)


@pytest.mark.parametrize("what", ANSWERS)
def test_it_is_recognised_and_its_cure_is_named(what: str) -> None:
    status, headers, text, told = ANSWERS[what]

    found = recognised(answer(status, headers, text))

    assert found is not None
    assert told in found.cure
    for sentence in told_apart(answer(status, headers, text), "A cause.", "A cure."):
        assert sentence.endswith(".")
        assert not re.search(r"[.!?] [A-Z]", sentence)


def test_each_is_recognised_by_some_answer() -> None:
    found = {recognised(answer(*given[:3])) for given in ANSWERS.values()}

    assert [known.cause for known in PRINTS if known not in found] == []


@pytest.mark.parametrize("server", ["cloudflare", "nginx", "Caddy", "Apache", "CloudFront"])
@pytest.mark.parametrize("status", [401, 403, 413, 429, 503])
def test_an_answer_of_the_server_itself_is_nobody_elses(server: str, status: int) -> None:
    own = httpx2.Response(status, headers={"server": server}, json={"error": "invalid_token"})

    assert recognised(own) is None
