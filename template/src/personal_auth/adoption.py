"""How a state file of the reference module becomes ours, so that its clients stay connected.

That module, from which a server may have been made before, kept whole tokens in the same file.
Each of its clients becomes one grant; its tokens are kept by their hashes only. Every client
whose tokens are still in the file was approved without a password: the log says how to cut them.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any

from personal_auth import audit
from personal_auth.audit import Event
from personal_auth.client import AUTH_METHODS, Client
from personal_auth.errors import StartRefused
from personal_auth.grants import GRANT_ID_CHARS
from personal_auth.identity import Identity
from personal_auth.scopes import RESOURCE_SCOPES
from personal_auth.sealing import digest
from personal_auth.store import Put

MEMBERS = {"clients", "access_tokens", "refresh_tokens", "a2r", "r2a"}
SCOPES = list(RESOURCE_SCOPES)


def is_foreign(state: dict[str, Any]) -> bool:
    """Tells whether the reference module wrote a state."""
    return "clients" in state and set(state) <= MEMBERS


def adopt(state: dict[str, Any], identity: Identity, now: float, life: int) -> list[Put]:
    """Returns the records for a state of the reference module.

    Args:
        state: What its file holds.
        identity: Whose tokens they are from now on.
        now: POSIX time.
        life: Seconds for an access token without an expiry.

    Raises:
        StartRefused: The state is damaged.
    """
    try:
        puts = list(_records(state, identity, now, life))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise StartRefused(
            "The state file looks like the reference module's and is damaged; it was left as it"
            " is: move it away to start anew."
        ) from error
    connections = sum(put.collection == "grants" for put in puts)
    audit.record(
        Event.ADOPTED,
        "Connections of an earlier server stay connected; nobody's password approved them."
        " To cut them all: password --revoke-all.",
        connections=connections,
    )
    return puts


def _records(state: dict[str, Any], identity: Identity, now: float, life: int) -> Iterator[Put]:
    access, refresh = state.get("access_tokens", {}), state.get("refresh_tokens", {})
    holders = {token["client_id"] for token in [*access.values(), *refresh.values()]}
    grants: dict[str, str] = {}
    for client_id, data in state["clients"].items():
        client = _client(client_id, data)
        yield Put("clients", digest(client_id), client.to_record())
        if client_id in holders:
            grants[client_id] = secrets.token_hex(GRANT_ID_CHARS // 2)
            grant = {
                "client": client.to_record(),
                "scopes": SCOPES,
                "resource": identity.resource,
                "issuer": identity.issuer,
                "created": now,
                "epoch": "",
            }
            yield Put("grants", grants[client_id], grant)
    for token, data in access.items():
        expires = float(data.get("expires_at") or now + life)
        if expires > now and data["client_id"] in grants:
            record = {"gid": grants[data["client_id"]], "exp": expires, "scopes": SCOPES}
            yield Put("tokens", digest(token), record, expires - now)
    for token, data in refresh.items():
        if data["client_id"] in grants:
            seed = secrets.token_hex(32)
            record = {"gid": grants[data["client_id"]], "seed": seed, "at": now}
            yield Put("refresh", digest(token), record)


def _client(client_id: str, data: dict[str, Any]) -> Client:
    secret, method = data.get("client_secret"), data.get("token_endpoint_auth_method")
    known = method if method in AUTH_METHODS else "client_secret_post"
    return Client(
        id=client_id,
        name=data.get("client_name") or "",
        redirect_uris=tuple(str(uri) for uri in data.get("redirect_uris") or ()),
        auth_method=known if secret else "none",
        secret_hash=digest(secret) if secret else None,
    )
