"""What this server is called: issuer, resource, origin, cookie names, all from one public URL."""

from __future__ import annotations

import re
from dataclasses import dataclass

MCP_PATH = "/mcp"  # clients fall back to exactly this path
LOOPBACK_HOSTS = ("localhost", "127.0.0.1", "[::1]")

PUBLIC_URL = re.compile(
    r"(?P<scheme>https?)://"
    r"(?P<host>\[::1\]|[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*)"
    r"(?::(?P<port>[1-9][0-9]{0,4}))?\Z"
)
PORT = re.compile(r":[0-9]*\Z")
DEFAULT_PORTS = {"http": "80", "https": "443"}


@dataclass(frozen=True, slots=True)
class Identity:
    """The names that clients compare byte for byte and that must never change after a deploy."""

    issuer: str
    """The public URL without a trailing slash (RFC 8414 §2)."""
    scheme: str
    host: str
    port: str | None

    @classmethod
    def of(cls, url: str) -> Identity:
        """Reads a public URL.

        Raises:
            ValueError: It is not `https://host[:port]`, or `http://` on a loopback host.
        """
        text = url.strip().removesuffix("/")
        match = PUBLIC_URL.match(text)
        if match is None:
            raise ValueError(
                f"The public URL {url!r} must be a scheme and a host in lower case without a path,"
                ' such as "https://mcp.example.com".'
            )
        scheme, host, port = match["scheme"], match["host"], match["port"]
        if scheme == "http" and host not in LOOPBACK_HOSTS:
            raise ValueError(
                f"The public URL {url!r} must begin with https, since passwords and tokens travel"
                f' over it; only a loopback address may use http: try "https://{host}".'
            )
        if port is not None and (int(port) > 65535 or port == DEFAULT_PORTS[scheme]):
            raise ValueError(
                f"The public URL {url!r} must leave out the port {port}: clients compare it byte"
                f' for byte, so write "{scheme}://{host}".'
            )
        return cls(issuer=text, scheme=scheme, host=host, port=port)

    @property
    def resource(self) -> str:
        """The protected resource's identifier (RFC 8707 §2, RFC 9728 §2)."""
        return self.issuer + MCP_PATH

    @property
    def origin(self) -> str:
        """The web origin of our own pages (RFC 6454); the same text as the issuer."""
        return self.issuer

    @property
    def secure(self) -> bool:
        """True when browsers reach us by https."""
        return self.scheme == "https"

    def cookie(self, name: str) -> str:
        """Names a cookie; on plain loopback the port keeps servers on one host apart."""
        return f"__Host-pa_{name}" if self.secure else f"pa_{name}_{self.port or '80'}"

    def knows_host(self, header: str) -> bool:
        """Tells whether a Host header (RFC 9110 §7.2) names this server or the loopback."""
        if f"{self.scheme}://{header}" == self.issuer:  # as nearly everybody sends it
            return True
        host = header.strip().lower()
        bare = PORT.sub("", host)
        if bare in LOOPBACK_HOSTS:
            return True
        return bare == self.host and host.removeprefix(bare) in {
            "",
            f":{self.port or DEFAULT_PORTS[self.scheme]}",
        }

    def knows_origin(self, header: str) -> bool:
        """Tells whether an Origin header is ours or a loopback page's."""
        if header == self.origin:
            return True
        match = PUBLIC_URL.match(header)
        return match is not None and match["host"] in LOOPBACK_HOSTS

    def is_resource(self, value: str) -> bool:
        """Tells whether a `resource` parameter names us, whatever its spelling (RFC 8707 §2)."""
        match = re.match(r"(https?)://([^/?#]*)(/[^?#]*)?\Z", value, re.IGNORECASE)
        if match is None:
            return False
        scheme, authority = match[1].lower(), match[2].lower()
        authority = authority.removesuffix(f":{DEFAULT_PORTS[scheme]}")
        path = (match[3] or "").rstrip("/")
        return f"{scheme}://{authority}{path}" == self.resource
