"""A device that keeps passkeys, in software: it does what it is told, right or wrong."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import os
import re
from dataclasses import dataclass, field
from typing import Any

import cbor2
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from personal_auth.keyring import Passkey
from personal_auth.owner import Owner

PRESENT, VERIFIED, ELIGIBLE, BACKED_UP, ATTESTED = 1, 4, 8, 16, 64  # flags (WebAuthn §6.1)


def to_text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def to_bytes(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "===")


@dataclass
class Authenticator:
    """One passkey and what its device says of itself; every member may be changed."""

    origin: str
    count: int = 0
    step: int = 0
    """By how much the count grows at each use; 0 as for a passkey that is synced."""
    flags: int = PRESENT | VERIFIED
    credential: bytes = field(default_factory=lambda: os.urandom(32))
    key: ec.EllipticCurvePrivateKey = field(
        default_factory=lambda: ec.generate_private_key(ec.SECP256R1())
    )
    rp_id: str = ""
    user: str = ""
    client_data: dict[str, Any] = field(default_factory=dict)
    """What is put into the client data, whatever belongs there."""

    def create(self, options: str) -> dict[str, Any]:
        """Returns what `navigator.credentials.create` would, as JSON."""
        asked = json.loads(options)
        self.rp_id, self.user = self.rp_id or asked["rp"]["id"], asked["user"]["id"]
        attested = bytes(16) + len(self.credential).to_bytes(2, "big") + self.credential
        data = self._data(ATTESTED) + attested + cbor2.dumps(self._public())
        attestation = cbor2.dumps({"fmt": "none", "attStmt": {}, "authData": data})
        return self._answer("webauthn.create", asked, {"attestationObject": to_text(attestation)})

    def get(self, options: str) -> dict[str, Any]:
        """Returns what `navigator.credentials.get` would, as JSON."""
        asked = json.loads(options)
        self.count += self.step
        data, client = self._data(), self._client_data("webauthn.get", asked)
        signed = data + hashlib.sha256(client).digest()
        signature = self.key.sign(signed, ec.ECDSA(hashes.SHA256()))
        response = {
            "authenticatorData": to_text(data),
            "signature": to_text(signature),
            "userHandle": self.user,
        }
        return self._answer("webauthn.get", asked, response)

    @property
    def private_key(self) -> str:
        """The key as Chromium's virtual authenticator takes it."""
        raw = self.key.private_bytes(
            serialization.Encoding.DER,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        return base64.b64encode(raw).decode()

    def _answer(self, kind: str, asked: dict[str, Any], response: dict[str, Any]) -> dict[str, Any]:
        client = to_text(self._client_data(kind, asked))
        name = to_text(self.credential)
        response = {"clientDataJSON": client, **response}
        return {"id": name, "rawId": name, "type": "public-key", "response": response}

    def _client_data(self, kind: str, asked: dict[str, Any]) -> bytes:
        data = {"type": kind, "challenge": asked["challenge"], "origin": self.origin}
        return json.dumps({**data, **self.client_data}).encode()

    def _data(self, more: int = 0) -> bytes:
        place = hashlib.sha256(self.rp_id.encode()).digest()
        return place + bytes([self.flags | more]) + self.count.to_bytes(4, "big")

    def _public(self) -> dict[int, Any]:
        """Returns the public key as COSE writes it (RFC 9053 §7.1)."""
        point = self.key.public_key().public_numbers()
        x, y = (number.to_bytes(32, "big") for number in (point.x, point.y))
        return {1: 2, 3: -7, -1: 1, -2: x, -3: y}


async def enrol(owner: Owner, device: Authenticator, name: str = "A phone") -> Passkey:
    """Lets the owner of a server enrol a passkey of a device."""
    offer = await owner.passkeys.enrol_offer("a session")
    answer = json.dumps(device.create(offer.options))
    return await owner.passkeys.enrol(answer, offer.challenge, "a session", name, "203.0.113.9")


def offered(page: str) -> tuple[str, str]:
    """Returns the options and the challenge in a page that offers a passkey."""
    options = re.search(r'data-options="([^"]+)"', page)
    challenge = re.search(r'name="challenge" value="([^"]+)"', page)
    assert options, page
    assert challenge, page
    return html.unescape(options[1]), html.unescape(challenge[1])
