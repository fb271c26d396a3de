"""What answers in the server's place: by what it is known, and how it is made to let go."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import httpx2

from personal_verify.answers import destination, json_in
from personal_verify.project import command


@dataclass(frozen=True)
class Print:
    """What an answer means that the server did not give: cause and cure, a sentence each."""

    known: Callable[[httpx2.Response], bool]
    cause: str
    cure: str


def header(name: str, pattern: str = "") -> Callable[[httpx2.Response], bool]:
    return lambda response: bool(
        name in response.headers and re.search(pattern, response.headers[name], re.IGNORECASE)
    )


def body(pattern: str) -> Callable[[httpx2.Response], bool]:
    return lambda response: bool(re.search(pattern, response.text[:20_000], re.IGNORECASE))


def status(*numbers: int) -> Callable[[httpx2.Response], bool]:
    return lambda response: response.status_code in numbers


def both(*known: Callable[[httpx2.Response], bool]) -> Callable[[httpx2.Response], bool]:
    return lambda response: all(one(response) for one in known)


def at_host(response: httpx2.Response) -> str:
    try:
        return response.url.host
    except RuntimeError:  # it answers no request
        return ""


CLOUDFLARE = header("server", "^cloudflare")
NGINX = header("server", "^(nginx|openresty)")
CADDY = header("server", "^caddy")
APACHE = header("server", "^apache")
START = f"Start the server with `uv run {command()}`, and point {{}} at its port."

# The first that is known counts: the particular stands before the general.
PRINTS = (
    # Cloudflare
    Print(
        lambda response: "cloudflareaccess.com" in destination(response),
        "Cloudflare Access asks for a login, which no client can give",
        "Cloudflare: under Zero Trust > Access > Applications remove the application for this"
        " host, or give it a policy Bypass for everyone.",
    ),
    Print(
        header("cf-mitigated", "challenge"),
        "Cloudflare asks for a challenge, which no client can solve",
        "Cloudflare: turn Bot Fight Mode and Under Attack Mode off, or skip the challenge for this"
        " host by a custom rule under Security > WAF (Bot Fight Mode itself can only be off).",
    ),
    Print(
        both(CLOUDFLARE, body(r"error(?: code)?:? ?1010")),
        "Cloudflare's Browser Integrity Check refuses this client (error 1010)",
        "Cloudflare: turn Browser Integrity Check off for this host by a Configuration Rule.",
    ),
    Print(
        both(CLOUDFLARE, body(r"error(?: code)?:? ?1020")),
        "A WAF rule of Cloudflare refuses this client (error 1020)",
        "Cloudflare: Security > Events shows which rule it was, so leave this host out of it.",
    ),
    Print(
        both(CLOUDFLARE, body(r"error(?: code)?:? ?100[6-9]")),
        "Cloudflare refuses this network or country (errors 1006 to 1009)",
        "Cloudflare: under Security > WAF > Tools remove the IP access rule, and leave"
        " 160.79.104.0/21, from where Claude calls, open.",
    ),
    Print(
        both(CLOUDFLARE, lambda r: r.status_code == 429 or body(r"error(?: code)?:? ?1015")(r)),
        "A rate limit of Cloudflare refuses this client (error 1015)",
        "Cloudflare: leave this host out of the rules under Security > WAF > Rate limiting rules.",
    ),
    Print(
        both(CLOUDFLARE, lambda r: r.status_code == 530 or body(r"error(?: code)?:? ?1033")(r)),
        "Cloudflare knows the host, but its tunnel is not connected (error 1033)",
        "Start cloudflared, and see with `cloudflared tunnel info` that it is connected; a quick"
        " tunnel of trycloudflare.com has another name after each start.",
    ),
    Print(
        both(CLOUDFLARE, status(502, 521, 522, 523)),
        "Cloudflare answers, but nothing answers behind its tunnel",
        START.format("the service in cloudflared's configuration"),
    ),
    Print(
        both(CLOUDFLARE, status(525, 526)),
        "Cloudflare cannot agree on TLS with what is behind it",
        "Cloudflare: let the service be http://, as a tunnel has it, or serve a certificate that"
        " the mode under SSL/TLS accepts.",
    ),
    Print(
        both(CLOUDFLARE, status(403, 503)),
        "Cloudflare refuses this client",
        "Cloudflare: under Security > Bots turn off Bot Fight Mode and Block AI bots, or skip them"
        " for this host by a custom rule under Security > WAF.",
    ),
    # ngrok and other tunnels
    Print(
        header("ngrok-error-code", "ERR_NGROK_6024"),
        "ngrok shows browsers its warning page before the sign-in page",
        "Choose Visit Site once in each browser with which you sign in, or use a plan of ngrok or"
        " another tunnel that has no such page.",
    ),
    Print(
        header("ngrok-error-code", "ERR_NGROK_3200"),
        "ngrok knows the host, but no agent of yours is connected",
        "Start ngrok with this domain, and see that no other agent uses it.",
    ),
    Print(
        header("ngrok-error-code", "ERR_NGROK_(727|734)"),
        "ngrok refuses requests, for this account has had as many as its plan allows",
        "Wait until ngrok counts anew (its dashboard says when), or use another plan or tunnel.",
    ),
    Print(
        header("ngrok-error-code", "ERR_NGROK_(8012|3004)"),
        "ngrok answers, but no web server answers behind it",
        START.format("ngrok"),
    ),
    Print(
        header("ngrok-error-code"),
        "ngrok answers in the server's place",
        "ngrok: look the code in the header ngrok-error-code up in its documentation, and at the"
        " traffic policy of this domain.",
    ),
    Print(
        lambda response: (
            response.status_code == 511 or body("loca\\.lt/mytunnelpassword")(response)
        ),
        "localtunnel shows its reminder page in the server's place",
        "Use another tunnel, for localtunnel asks every visitor for a password of its own.",
    ),
    # Proxies
    Print(
        both(NGINX, status(401)),
        "nginx asks for a password of its own (auth_basic)",
        "nginx: set `auth_basic off;` for this server, which has its own sign-in.",
    ),
    Print(
        both(NGINX, status(403, 444)),
        "nginx refuses this client",
        "nginx: remove what looks at $http_user_agent, a `deny`, or a list of bad bots that is"
        " included for this host.",
    ),
    Print(
        both(NGINX, status(413)),
        "nginx takes no body of this size",
        "nginx: set `client_max_body_size 1m;` for this host.",
    ),
    Print(
        both(NGINX, status(429, 503)),
        "A rate limit of nginx refuses this client",
        "nginx: leave this host out of limit_req and limit_conn.",
    ),
    Print(
        both(NGINX, status(502, 504)),
        "nginx answers, but nothing answers behind it",
        START.format("proxy_pass"),
    ),
    Print(
        both(CADDY, status(401, 403)),
        "Caddy refuses this client",
        "Caddy: remove basic_auth, and what matches the header User-Agent, for this host.",
    ),
    Print(
        both(CADDY, status(502, 503, 504)),
        "Caddy answers, but nothing answers behind it",
        START.format("reverse_proxy"),
    ),
    Print(
        both(APACHE, status(401, 403, 406)),
        "Apache or its mod_security refuses this client",
        "Apache: remove what looks at User-Agent for this host, and switch mod_security's rules"
        " off for it.",
    ),
    Print(
        both(header("server", "cloudfront|awselb"), status(403)),
        "AWS refuses this client",
        "AWS: let the web ACL's bot control count instead of block for this host.",
    ),
    Print(
        both(header("server", "akamai|sucuri|imunify|ddos-guard"), status(401, 403, 406, 429)),
        "A bot protection refuses this client",
        "Switch the bot protection named in the header Server off for this host.",
    ),
    Print(
        both(lambda r: at_host(r).endswith(".ts.net"), status(502, 503, 504)),
        "Tailscale Funnel answers, but nothing answers behind it",
        START.format("what `tailscale funnel status` shows"),
    ),
)


def recognised(response: httpx2.Response) -> Print | None:
    """Returns what answered in the server's place, None when that cannot be told."""
    if isinstance(json_in(response), dict):
        return None  # an answer of the server
    return next((known for known in PRINTS if known.known(response)), None)


def told_apart(response: httpx2.Response, cause: str, cure: str) -> tuple[str, str]:
    """Returns cause and cure of an answer that should be another, better ones when it is known."""
    known = recognised(response)
    return (f"{cause.rstrip('.')}: {known.cause}.", known.cure) if known else (cause, cure)
