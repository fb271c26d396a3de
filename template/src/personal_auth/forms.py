"""What a request carries, read within bounds: every parameter at most once."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import re
from typing import Any
from urllib.parse import parse_qsl, unquote_plus

from starlette.requests import ClientDisconnect, Request

from personal_auth.client import Credentials
from personal_auth.errors import InvalidClient, InvalidRequest, RequestTooLarge, RequestTooSlow
from personal_auth.limits import Limits

COOKIE_VALUE = re.compile(r"[A-Za-z0-9_.-]{1,512}\Z")
JWT_BEARER = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"  # RFC 7523 §2.2
FORM_TYPE = "application/x-www-form-urlencoded"


class Parameters:
    """The parameters of a query or a form (RFC 6749 §3.1, §3.2)."""

    def __init__(self, encoded: str | bytes) -> None:
        try:
            text = encoded.decode("ascii") if isinstance(encoded, bytes) else encoded
            pairs = parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=100)
        except (UnicodeError, ValueError) as error:
            raise InvalidRequest("The parameters cannot be read as a form in UTF-8.") from error
        self._values: dict[str, list[str]] = {}
        for name, value in pairs:
            self._values.setdefault(name, []).append(value)

    def every(self, name: str) -> list[str]:
        """Returns all values of a parameter that are not empty."""
        return [value for value in self._values.get(name, []) if value]

    def get(self, name: str) -> str | None:
        """Returns a parameter's value; an empty one counts as absent (RFC 6749 §3.1).

        Raises:
            InvalidRequest: It is given more than once.
        """
        values = self._values.get(name, [])
        if len(values) > 1:
            raise InvalidRequest(f"The parameter {name} is given more than once.")
        return values[0] if values and values[0] else None

    def need(self, name: str) -> str:
        """Returns a parameter's value.

        Raises:
            InvalidRequest: It is absent, empty or given more than once.
        """
        value = self.get(name)
        if value is None:
            raise InvalidRequest(f"The parameter {name} is missing.")
        return value


async def read_body(request: Request, limits: Limits) -> bytes:
    """Returns a request's body.

    Raises:
        RequestTooLarge: It is longer than `Limits.body_bytes`; the rest is not read.
        RequestTooSlow: It takes longer than `Limits.body_seconds`.
        InvalidRequest: It broke off; nobody reads the answer.
    """
    body = b""
    try:
        async with asyncio.timeout(limits.body_seconds):
            async for chunk in request.stream():
                body += chunk
                if len(body) > limits.body_bytes:
                    raise RequestTooLarge(
                        f"The request's body is longer than {limits.body_bytes} bytes."
                    )
    except TimeoutError:
        raise RequestTooSlow("The request's body did not arrive in time.") from None
    except ClientDisconnect:
        raise InvalidRequest("The request's body broke off.") from None
    return body


async def read_form(request: Request, limits: Limits) -> Parameters:
    """Returns a form's parameters.

    Raises:
        InvalidRequest: The body is not such a form.
    """
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type != FORM_TYPE:
        raise InvalidRequest(f"The content type must be {FORM_TYPE}.")
    return Parameters(await read_body(request, limits))


async def read_json(request: Request, limits: Limits) -> dict[str, Any]:
    """Returns a JSON object.

    Raises:
        InvalidRequest: The body is anything else.
    """
    body = await read_body(request, limits)
    try:
        value = json.loads(body.decode("utf-8"))
        json.dumps(value, ensure_ascii=False).encode("utf-8")  # refuses lone surrogates
    except (ValueError, RecursionError) as error:
        raise InvalidRequest("The body is not JSON in UTF-8.") from error
    if not isinstance(value, dict):
        raise InvalidRequest("The body must be a JSON object.")
    return value


def read_cookie(request: Request, name: str) -> str | None:
    """Returns a cookie of ours, which are all plain; anything else counts as absent.

    The standard library's parser takes seconds for hostile cookies on some Python versions.
    """
    for part in request.headers.get("cookie", "").split(";"):
        found, _, value = part.strip().partition("=")
        if found == name and COOKIE_VALUE.match(value):
            return value
    return None


def client_credentials(request: Request, form: Parameters) -> Credentials:
    """Returns what a client proves itself by, from HTTP Basic or the form.

    Raises:
        InvalidClient: There is no id, or the header or the assertion cannot be read.
        InvalidRequest: Two places name different clients.
    """
    scheme, _, encoded = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        is_jwt = form.get("client_assertion_type") == JWT_BEARER
        assertion = form.get("client_assertion") if is_jwt else None
        client_id = form.get("client_id") or _subject(assertion)
        if client_id is None:
            raise InvalidClient("The client did not say who it is: client_id is missing.")
        secret = form.get("client_secret")
        return Credentials(client_id, (secret,) if secret else (), assertion)
    try:
        name, _, raw = base64.b64decode(encoded, validate=True).decode("utf-8").partition(":")
    except (binascii.Error, ValueError) as error:
        raise InvalidClient("The Authorization header is malformed.") from error
    client_id = unquote_plus(name)
    if form.get("client_id") not in {None, client_id}:
        raise InvalidRequest("The Authorization header and the form name different clients.")
    # The RFC wants the secret encoded as in a form; many clients send it as it is.
    return Credentials(client_id, tuple({unquote_plus(raw), raw} - {""}))


def _subject(assertion: str | None) -> str | None:
    """Returns whom an assertion claims to be; it is not checked here."""
    try:
        claims = (assertion or "").split(".")[1]
        subject = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))["sub"]
    except (IndexError, KeyError, TypeError, ValueError, RecursionError):
        return None
    return subject if isinstance(subject, str) and subject else None
