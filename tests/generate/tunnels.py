"""What the programs behind the answers to `tunnel` accept, as their sources and references say it.

None of them is run by the tests. cloudflared refuses a configuration by these rules, but goes on
without a key that it does not know, with a warning at most. So keys are held to lists here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

# cloudflared: the keys of its configuration and, of the settings that may stand beside them, those
# that a tunnel with ingress rules can use.
CLOUDFLARED = {
    *("tunnel", "credentials-file", "ingress", "originRequest", "warp-routing"),
    *("loglevel", "logfile", "metrics", "protocol", "no-autoupdate", "grace-period", "retries"),
}
RULE = {"hostname", "path", "service", "originRequest"}
DURATIONS = {"connectTimeout", "tlsTimeout", "tcpKeepAlive", "keepAliveTimeout"}
ORIGIN = {
    *DURATIONS,
    *("noHappyEyeballs", "keepAliveConnections", "httpHostHeader", "originServerName"),
    *("matchSNItoHost", "caPool", "noTLSVerify", "disableChunkedEncoding", "bastionMode"),
    *("proxyAddress", "proxyPort", "proxyType", "ipRules", "http2Origin", "access"),
}
DURATION = re.compile(r"([0-9]+(\.[0-9]*)?(ns|us|µs|ms|s|m|h))+\Z")

# ngrok: version 3 of its agent's configuration, without what is deprecated.
NGROK = {"version", "agent", "endpoints"}
AGENT = {
    *("api_key", "authtoken", "connect_cas", "connect_timeout", "connect_url", "console_ui"),
    *("console_ui_color", "crl_noverify", "dns_resolver_ips", "heartbeat_interval"),
    *("heartbeat_tolerance", "inspect_db_size", "log", "log_format", "log_level", "metadata"),
    *("proxy_url", "remote_management", "update_channel", "update_check", "web_addr"),
    *("web_allow_hosts",),
}
ENDPOINT = {"name", "url", "description", "metadata", "traffic_policy", "upstream"}
UPSTREAM = {"url", "protocol", "proxy_protocol"}

# Tailscale: what a ServeConfig holds, and the ports on which Funnel listens.
SERVE = {"TCP", "Web", "Services", "AllowFunnel", "Foreground"}
TCP = {"HTTPS", "HTTP", "TCPForward", "TerminateTLS", "ProxyProtocol"}
HANDLER = {"Path", "Proxy", "Text", "AcceptAppCaps", "Redirect"}
FUNNEL_PORTS = {"443", "8443", "10000"}


def unknown(given: dict[str, Any], known: set[str], where: str) -> list[str]:
    return [f"{where} has no key {key}" for key in given.keys() - known]


def cloudflared_faults(configuration: dict[str, Any]) -> list[str]:
    """Returns what cloudflared would refuse, or pass over."""
    rules = configuration.get("ingress") or [{}]
    found = unknown(configuration, CLOUDFLARED, "the configuration")
    found += _origin(configuration.get("originRequest", {}))
    for rule in rules:
        found += unknown(rule, RULE, "a rule") + _origin(rule.get("originRequest", {}))
        found += [*_service(str(rule.get("service", ""))), *_host(str(rule.get("hostname", "")))]
    everything = [rule.get("hostname", "*") in {"", "*"} and "path" not in rule for rule in rules]
    if everything != [False] * (len(rules) - 1) + [True]:
        found.append("the last rule, and no other, matches everything")
    return found


def _origin(given: dict[str, Any]) -> list[str]:
    wrong = [key for key in DURATIONS & given.keys() if not DURATION.match(str(given[key]))]
    return unknown(given, ORIGIN, "originRequest") + [f"{key} is no duration" for key in wrong]


def _service(service: str) -> Iterator[str]:
    if status := re.match(r"http_status:(.*)", service):
        if not re.fullmatch(r"[1-9][0-9]{2}", status[1]):
            yield f"{service} is no status"
        return
    parts = urlsplit(service)
    if not parts.scheme or not parts.hostname:
        yield f"{service} has no scheme or no host"
    if parts.path:
        yield f"{service} has a path"


def _host(hostname: str) -> Iterator[str]:
    if ":" in hostname:
        yield f"{hostname} has a port"
    if "*" in hostname[1:]:
        yield f"{hostname} has a wildcard within"


def ngrok_faults(configuration: dict[str, Any]) -> list[str]:
    """Returns what the agent of ngrok would not know."""
    found = unknown(configuration, NGROK, "the configuration")
    found += unknown(configuration["agent"], AGENT, "agent")
    for endpoint in configuration["endpoints"]:
        found += unknown(endpoint, ENDPOINT, "an endpoint")
        found += unknown(endpoint["upstream"], UPSTREAM, "upstream")
        found += [f"an endpoint has no {key}" for key in {"name", "url"} - endpoint.keys()]
    return found if configuration["version"] == 3 else [*found, "the version is not 3"]


def tailscale_faults(configuration: dict[str, Any]) -> list[str]:
    """Returns what Tailscale would not know, or not lead through Funnel."""
    found = unknown(configuration, SERVE, "the configuration")
    for port, listener in configuration["TCP"].items():
        found += unknown(listener, TCP, "a port")
        found += [] if port in FUNNEL_PORTS else [f"Funnel has no port {port}"]
    for server in configuration["Web"].values():
        found += unknown(server, {"Handlers"}, "a server")
        for handler in server["Handlers"].values():
            found += unknown(handler, HANDLER, "a handler")
    for place in configuration["AllowFunnel"]:
        port = place.rpartition(":")[2]
        if place not in configuration["Web"] or not configuration["TCP"].get(port, {}).get("HTTPS"):
            found.append(f"{place} is not served")
    return found
