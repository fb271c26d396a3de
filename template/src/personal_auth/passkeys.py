"""Does the owner's passkey answer? Enrolment and sign-in (W3C Web Authentication Level 3, §7).

A passkey answers only on this server's own origin, and only after its device has verified the owner
by fingerprint, face or PIN. Everything else about an answer is from anybody until its signature has
been checked, and refused without anything being written.

`webauthn` does the checking. It is imported at the first answer; without it, there are no passkeys.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from personal_auth import audit
from personal_auth.audit import Event
from personal_auth.challenges import Challenges
from personal_auth.errors import WrongPasskey
from personal_auth.identity import Identity
from personal_auth.keyring import Keyring, NewPasskey, Passkey
from personal_auth.limits import Limits
from personal_auth.records import Records
from personal_auth.sealing import Sealer, from_text, to_text

if TYPE_CHECKING:
    from webauthn.authentication.verify_authentication_response import VerifiedAuthentication

T = TypeVar("T")

SIGN_IN, ENROL = "passkey-sign-in", "passkey-enrol"
ALGORITHMS = (-8, -7, -257)  # EdDSA, ES256, RS256 (RFC 9053 §2, RFC 8812 §2)
CREDENTIAL_CHARS = 1366  # base64url of the longest credential id, 1,023 bytes


@dataclass(frozen=True, slots=True)
class Offer:
    """What a page needs to ask for a passkey."""

    options: str
    """For `navigator.credentials`: JSON, bytes as base64url."""
    challenge: str = field(repr=False)
    """What has to come back with the answer."""


class Passkeys:
    """Offers and checks passkeys for one server."""

    def __init__(
        self,
        keyring: Keyring,
        records: Records,
        sealer: Callable[[], Sealer],
        identity: Identity,
        limits: Limits,
        clock: Callable[[], float],
    ) -> None:
        self._keyring = keyring
        self._sealer = sealer
        self._identity = identity
        self._challenges = Challenges(records, sealer, limits, clock)

    def sign_in_offer(self, bound_to: str) -> Offer:
        """Returns what a page needs to let the owner sign in by any passkey of this server.

        Args:
            bound_to: What only this browser, and this page of it, will have when it answers.
        """
        challenge = self._challenges.make(SIGN_IN, bound_to)
        options = {
            "challenge": to_text(self._challenges.to_sign(challenge)),
            "rpId": self._identity.host,
            "userVerification": "required",
        }
        return Offer(json.dumps(options), challenge)

    async def enrol_offer(self, bound_to: str) -> Offer:
        """Returns what a page needs to let the owner make a passkey on a device without one."""
        challenge = self._challenges.make(ENROL, bound_to)
        place = self._identity.issuer.partition("://")[2]
        known = [each.credential for each in await self._keyring.listed() if each.works]
        options = {
            "challenge": to_text(self._challenges.to_sign(challenge)),
            "rp": {"id": self._identity.host, "name": place},
            "user": {"id": self._user(), "name": f"Owner of {place}", "displayName": "Owner"},
            "pubKeyCredParams": [{"type": "public-key", "alg": alg} for alg in ALGORITHMS],
            "excludeCredentials": [{"type": "public-key", "id": each} for each in known],
            "authenticatorSelection": {
                "residentKey": "required",
                "requireResidentKey": True,
                "userVerification": "required",
            },
            "attestation": "none",
        }
        return Offer(json.dumps(options), challenge)

    async def check(self, answer: str, challenge: str, bound_to: str) -> Passkey:
        """Returns the passkey that answered a challenge, which is used up then.

        Raises:
            WrongPasskey: It is none of the owner's, or did not answer this challenge here and now.
        """
        expected = self._challenges.open(SIGN_IN, challenge, bound_to)
        response, credential = _read(answer)
        key = (await self._known(credential)).public_key
        if response["response"].get("userHandle") not in (None, "", self._user()):
            raise _unknown()
        verified = await _guarded(lambda: self._verify(response, expected, key))
        if not verified.user_verified:
            raise _unverified()
        await self._challenges.use_up(challenge)
        passkey = await self._known(credential)  # as it is now: another use may have come between
        count = verified.new_sign_count
        grown = count > passkey.count and await self._challenges.is_first_count(passkey.id, count)
        if (count or passkey.count) and not grown:
            audit.record(Event.PASSKEY_CLONED, passkey=passkey.id, name=passkey.name)
            raise WrongPasskey(
                f"The passkey “{passkey.name}” has been used elsewhere: its count went back, as"
                " that of a copy does. Sign in another way, remove it and make a new one."
            )
        await self._keyring.used(passkey, count)
        return passkey

    async def enrol(
        self, answer: str, challenge: str, bound_to: str, name: str, address: str
    ) -> Passkey:
        """Enrols the passkey that a browser has made for a challenge, which is used up then.

        Raises:
            WrongPasskey: It was not made for this challenge here and now.
            InvalidRequest: There is no room, or it is enrolled already.
        """
        expected = self._challenges.open(ENROL, challenge, bound_to)
        response, _ = _read(answer)
        new, user_verified = await _guarded(lambda: self._verify_new(response, expected))
        if not user_verified:
            raise _unverified()
        await self._challenges.use_up(challenge)
        return await self._keyring.add(new, name, address)

    async def _known(self, credential: str) -> Passkey:
        passkey = await self._keyring.find(credential)
        if passkey is None:
            raise _unknown()
        return passkey

    def _verify(
        self, response: dict[str, Any], expected: bytes, public_key: str
    ) -> VerifiedAuthentication:
        from webauthn import verify_authentication_response

        _refuse_framed(response)
        return verify_authentication_response(
            credential=response,
            expected_challenge=expected,
            expected_rp_id=self._identity.host,
            expected_origin=self._identity.origin,
            credential_public_key=from_text(public_key),
            # 0 and no verification: what is told of a copy, and of a device without a lock,
            # is told only of an answer whose signature is good.
            credential_current_sign_count=0,
        )

    def _verify_new(self, response: dict[str, Any], expected: bytes) -> tuple[NewPasskey, bool]:
        from webauthn import verify_registration_response
        from webauthn.helpers.cose import COSEAlgorithmIdentifier
        from webauthn.helpers.structs import CredentialDeviceType

        _refuse_framed(response)
        verified = verify_registration_response(
            credential=response,
            expected_challenge=expected,
            expected_rp_id=self._identity.host,
            expected_origin=self._identity.origin,
            supported_pub_key_algs=[COSEAlgorithmIdentifier(alg) for alg in ALGORITHMS],
        )
        new = NewPasskey(
            credential=to_text(verified.credential_id),
            public_key=to_text(verified.credential_public_key),
            count=verified.sign_count,
            synced=verified.credential_device_type == CredentialDeviceType.MULTI_DEVICE,
        )
        return new, verified.user_verified

    def _user(self) -> str:
        """Returns the user handle: one for each server, so that two on one host keep apart."""
        return to_text(self._sealer().mac("passkey-user", self._identity.host.encode())[:16])


def _read(answer: str) -> tuple[dict[str, Any], str]:
    """Returns a browser's answer and the credential id in it.

    Raises:
        WrongPasskey: It is not in the form of a `PublicKeyCredential` as JSON (§5.1).
    """
    try:
        value = json.loads(answer)
    except (ValueError, RecursionError) as error:
        raise _malformed() from error
    credential = value.get("id") if isinstance(value, dict) else None
    if not isinstance(credential, str) or not 0 < len(credential) <= CREDENTIAL_CHARS:
        raise _malformed()
    if not isinstance(value.get("response"), dict):
        raise _malformed()
    return value, credential


async def _guarded(verify: Callable[[], T]) -> T:
    """Returns what a check of `webauthn` returns; in a thread, since it may have to be imported.

    Raises:
        WrongPasskey: The check raised, whatever: it reads bytes that anybody may send.
    """
    try:
        return await asyncio.to_thread(verify)
    except Exception as error:
        raise WrongPasskey(
            "The passkey’s answer does not fit: it was not made at this address for this page, or"
            " was altered. Try again."
        ) from error


def _refuse_framed(response: dict[str, Any]) -> None:
    """Refuses what was asked for within a page of another origin (§7.1 step 10, §7.2 step 13)."""
    from webauthn.helpers import base64url_to_bytes, parse_client_data_json

    client_data = response["response"]["clientDataJSON"]
    if parse_client_data_json(base64url_to_bytes(client_data)).cross_origin:
        raise ValueError("within another page")


def _unknown() -> WrongPasskey:
    return WrongPasskey(
        "This passkey is not known here: it was removed, or made for another server. Choose"
        " another one."
    )


def _unverified() -> WrongPasskey:
    return WrongPasskey(
        "The device did not check that it is you: turn on its screen lock (fingerprint, face or"
        " PIN), then try again."
    )


def _malformed() -> WrongPasskey:
    return WrongPasskey("The browser’s answer cannot be read. Try again.")
