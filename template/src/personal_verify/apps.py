"""A client as the authorization server knows it, what it was sent, and what it was granted."""

from __future__ import annotations

import base64
import hashlib
import secrets
from dataclasses import dataclass, field
from typing import Any


@dataclass
class App:
    """A client that registered itself."""

    id: str
    callback: str
    secret: str = ""  # of a server that gives everybody one
    verifier: str = field(default_factory=lambda: secrets.token_urlsafe(48))

    @property
    def credentials(self) -> dict[str, str]:
        """How it says in a form who it is (RFC 6749 §2.3.1)."""
        secret = {"client_secret": self.secret} if self.secret else {}
        return {"client_id": self.id, **secret}

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
    """What a token answer carries; `life` in seconds, `at` on the monotonic clock."""

    app: App
    access: str
    refresh: str
    life: int
    scopes: tuple[str, ...]
    at: float

    @classmethod
    def read(cls, app: App, answer: dict[str, Any], at: float) -> Tokens:
        """Returns what an answer with an access token carries, whatever else it lacks."""
        life, scope = answer.get("expires_in"), answer.get("scope")
        return cls(
            app,
            access=answer["access_token"],
            refresh=str(answer.get("refresh_token") or ""),
            life=life if isinstance(life, int) else 0,
            scopes=tuple(scope.split()) if isinstance(scope, str) else (),
            at=at,
        )


@dataclass(frozen=True)
class Approval:
    """What the server sent to a client whom the owner approved, and how.

    `how` is the status of the redirect, or the method by which the person's browser came.
    """

    answer: dict[str, str]
    state: str
    how: str

    @property
    def code(self) -> str:
        return self.answer["code"]
