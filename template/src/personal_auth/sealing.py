"""Values that leave this process and must come back unaltered.

A sealed value is readable by whoever carries it and can be made by nobody else: compact JSON,
then an HMAC-SHA256 over a purpose and that JSON. The purpose keeps a value that was sealed for
one use (a consent ticket, a client id) from being presented for another.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from typing import Any


class BrokenSeal(Exception):
    """A value was not sealed with this key for this purpose."""


def same(left: str | bytes, right: str | bytes) -> bool:
    """Tells in constant time whether two secrets are equal; the only place that compares them."""
    a = left.encode() if isinstance(left, str) else left
    b = right.encode() if isinstance(right, str) else right
    return hmac.compare_digest(hashlib.sha256(a).digest(), hashlib.sha256(b).digest())


def digest(secret: str) -> str:
    """Returns the SHA-256 of a secret in hex: the form in which secrets are stored."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def to_text(raw: bytes) -> str:
    """Returns base64url without padding."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def from_text(text: str) -> bytes:
    """Reverses `to_text`, strictly: only the one canonical spelling is accepted.

    Raises:
        BrokenSeal: The text is not what `to_text` makes.
    """
    try:
        raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (ValueError, binascii.Error) as error:
        raise BrokenSeal from error
    if to_text(raw) != text:
        raise BrokenSeal
    return raw


class Sealer:
    """Seals with keys derived from one 256-bit key."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def __repr__(self) -> str:
        return "Sealer(...)"

    def mac(self, purpose: str, message: bytes) -> bytes:
        """Returns the 32-byte HMAC-SHA256 of a message under the key of this purpose."""
        key = hmac.digest(self._key, purpose.encode(), "sha256")
        return hmac.digest(key, message, "sha256")

    def seal(self, purpose: str, value: dict[str, Any]) -> str:
        """Returns the value as opaque text."""
        body = json.dumps(value, separators=(",", ":")).encode()
        return f"{to_text(body)}.{to_text(self.mac(purpose, body))}"

    def unseal(self, purpose: str, text: str) -> dict[str, Any]:
        """Returns what `seal` was given.

        Raises:
            BrokenSeal: The text was altered, or sealed with another key or for another purpose.
        """
        body_text, _, mac_text = text.partition(".")
        body = from_text(body_text)
        if not same(self.mac(purpose, body), from_text(mac_text)):
            raise BrokenSeal
        value = json.loads(body)
        if not isinstance(value, dict):
            raise BrokenSeal
        return value
