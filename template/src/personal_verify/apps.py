"""A client as the authorization server knows it, and what it was granted."""

from __future__ import annotations

import base64
import hashlib
import secrets
from dataclasses import dataclass, field


@dataclass
class App:
    """A client that registered itself."""

    id: str
    callback: str
    verifier: str = field(default_factory=lambda: secrets.token_urlsafe(48))

    @property
    def challenge(self) -> str:
        """The S256 challenge (RFC 7636 §4.2)."""
        hashed = hashlib.sha256(self.verifier.encode()).digest()
        return base64.urlsafe_b64encode(hashed).rstrip(b"=").decode()

    def question(self, **changes: str | None) -> dict[str, str]:
        """The parameters of an authorization request; None leaves one out."""
        whole = {
            "response_type": "code",
            "client_id": self.id,
            "redirect_uri": self.callback,
            "code_challenge": self.challenge,
            "code_challenge_method": "S256",
            "state": "verify",
            **changes,
        }
        return {name: value for name, value in whole.items() if value is not None}


@dataclass(frozen=True)
class Tokens:
    """What a token answer carries."""

    app: App
    access: str
    refresh: str
    at: float
