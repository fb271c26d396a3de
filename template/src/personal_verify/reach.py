"""Can the server be reached, and does it answer itself?"""

from __future__ import annotations

import email.utils
import time

import httpx2

from personal_verify.answers import is_html, json_in, shape
from personal_verify.checks import Failed, Skipped, check, expect, pass_on
from personal_verify.fingerprints import told_apart
from personal_verify.known import RESOURCE_METADATA, SERVER_METADATA
from personal_verify.network import (
    DAY_SECONDS,
    Place,
    addresses,
    connects,
    days_of_certificate,
    is_private,
    refuse_proxy,
)
from personal_verify.project import is_loopback
from personal_verify.recognition import how_to_lead_there, recognise
from personal_verify.tokens import duration
from personal_verify.visit import Visit

HERE = "not needed on this computer"
SKEW_SECONDS = 120
MOST_ADDRESSES = 8  # that are tried
DAYS_LEFT = 7  # of a certificate; of a short-lived one a part, for it is renewed later
PART_LEFT = 0.15


@check("reach.name", "The name is known everywhere")
def _(visit: Visit) -> str:
    place = Place(visit.url)
    if is_loopback(visit.url):
        return HERE
    refuse_proxy(place)
    found = addresses(place)
    private = [address for address in found if is_private(address)]
    if private and place.host.endswith(".ts.net"):
        raise Skipped("seen from within the tailnet: verify from outside of it")
    expect(
        not private,
        f"{place.host} leads to {', '.join(private)}, which only its own network reaches.",
        "Let the DNS record lead to the tunnel or to a public address, or verify from another"
        " network if only this one sees it so.",
    )
    return ", ".join(found)


@check("reach.https", "TLS protects it")
def _(visit: Visit) -> str:
    if is_loopback(visit.url):
        return HERE
    expect(
        Place(visit.url).is_secure,
        f"{visit.url} sends the password and every token unprotected, and hosted clients refuse"
        " it.",
        "Put a tunnel or a proxy with TLS before it, and use its https:// address.",
    )
    return "https"


@check("reach.port", "It is where Claude looks")
def _(visit: Visit) -> str:
    place = Place(visit.url)
    if is_loopback(visit.url):
        return HERE
    expect(
        place.port == 443 or not place.is_secure,  # of which reach.https speaks
        f"Claude connects to port 443 only, and {visit.url} is at port {place.port}.",
        "Let the tunnel or proxy serve this host at port 443 too, and use the address without a"
        " port.",
    )
    return f"port {place.port}"


@check("reach.certificate", "Its certificate is good")
def _(visit: Visit) -> str:
    place = Place(visit.url)
    if not place.is_secure:
        if is_loopback(visit.url):
            return HERE
        raise Skipped("needs reach.https")
    if not is_loopback(visit.url):
        refuse_proxy(place)
    try:
        days, whole = days_of_certificate(place, visit.tls)
    except OSError as error:
        raise Skipped("there is no connection, see reach.health") from error
    expect(
        days >= min(DAYS_LEFT, PART_LEFT * whole),
        f"The certificate of {place.host} expires in {duration(days * DAY_SECONDS)}.",
        "Let the tunnel or proxy renew it, and see why that did not happen by itself.",
    )
    return f"good for {duration(days * DAY_SECONDS)}"


@check("reach.health", "The server answers")
def _(visit: Visit) -> str:
    began = time.perf_counter()
    response = visit.get("/healthz")
    took = (time.perf_counter() - began) * 1000
    recognise(visit, response)
    if not visit.ours:
        return f"an MCP server, not made from copier-personal-mcp, after {took:.0f} ms"
    if response.status_code != 200 or response.text.strip() != "ok":
        cause = f"GET /healthz is answered with {shape(response)}, not with ok."
        raise Failed(*told_apart(response, cause, how_to_lead_there()))
    return f"/healthz says ok after {took:.0f} ms"


@check("reach.ipv4", "It is reached over IPv4", "reach.health")
def _(visit: Visit) -> str:
    place = Place(visit.url)
    if is_loopback(visit.url):
        return HERE
    refuse_proxy(place)
    found = [
        address for address in addresses(place) if ":" not in address and not is_private(address)
    ]
    expect(
        found,
        f"{place.host} has only IPv6 addresses, and Claude calls over IPv4.",
        "Add an A record for the host, or use a tunnel, which has both.",
    )
    reached = visit.each(found[:MOST_ADDRESSES], lambda address: connects(address, place.port))
    for address, there in reached:
        expect(
            there,
            f"There is no connection to {address}, one of the IPv4 addresses of {place.host}.",
            "Correct the A record, or open the port in the firewall and router for IPv4 too.",
        )
    return ", ".join(found)


@check("reach.json", "No other page stands before it")
def _(visit: Visit) -> str:
    paths = (SERVER_METADATA, f"{RESOURCE_METADATA}/mcp", "/.well-known/nothing-here")
    for path, response in visit.each(paths, visit.get):
        refuse_page(path, response)
        expect(
            response.status_code != 404 or json_in(response) is not None or not visit.ours,
            f"{path} gives {shape(response)} without JSON, which clients try to read.",
            pass_on("the server's own errors"),
        )
    return "no redirect and no HTML"


def refuse_page(path: str, response: httpx2.Response) -> None:
    if response.is_redirect:
        raise Failed(
            *told_apart(
                response,
                f"{path} is redirected to {response.headers.get('location')}.",
                "Set MCP_PUBLIC_URL to the address that it leads to, or switch the redirect off.",
            )
        )
    if is_html(response):
        raise Failed(
            *told_apart(
                response,
                f"{path} gives {shape(response)}, where clients need JSON.",
                how_to_clear(response),
            )
        )


def how_to_clear(response: httpx2.Response) -> str:
    """Returns how the page of a proxy or tunnel makes way for the server."""
    if response.status_code == 404:
        return (
            "Let the proxy or tunnel lead every path of this host to the server, /.well-known/ too,"
            " and pass its errors on as they are (nginx: one `location /`, no"
            " proxy_intercept_errors)."
        )
    return (
        "Switch off the challenge, login or warning page for this host (Cloudflare: Security > WAF,"
        " and Zero Trust > Access; ngrok: use a domain of your own)."
    )


@check("reach.clock", "Both clocks agree", "reach.health")
def _(visit: Visit) -> str:
    response = visit.get("/healthz")
    here, age = time.time(), response.headers.get("age", "")
    try:
        there = email.utils.parsedate_to_datetime(response.headers["date"]).timestamp()
    except (KeyError, ValueError) as error:
        raise Skipped("its answers carry no date") from error
    apart = abs(there + (int(age) if age.isdecimal() else 0) - here)
    expect(
        apart <= SKEW_SECONDS,
        f"The clocks of the server and of this computer are {apart / 60:.0f} minutes apart, so"
        " that certificates and tokens end at the wrong time on one of them.",
        "Set the clock that is wrong, and let it be kept by NTP (systemd: `timedatectl set-ntp"
        " true`).",
    )
    return f"{apart:.0f} s apart"
