"""How a state file of the reference module becomes ours, so that its clients stay connected.

That module, from which a server may have been made before, kept whole tokens in the same file.
Each of its clients becomes one grant; its tokens are kept by their hashes only. Every client
whose tokens are still in the file was approved without a password: the log says how to cut them.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Iterator
from typing import Any, TypeGuard

from personal_auth import audit
from personal_auth.audit import Event
from personal_auth.client import AUTH_METHODS, Client
from personal_auth.connections import GRANT_ID_CHARS
from personal_auth.errors import StartRefused
from personal_auth.identity import Identity
from personal_auth.limits import Limits
from personal_auth.scopes import RESOURCE_SCOPES
from personal_auth.sealing import digest
from personal_auth.store import Put

MEMBERS = {"clients", "access_tokens", "refresh_tokens", "a2r", "r2a"}
SCOPES = list(RESOURCE_SCOPES)

Tokens = dict[str, dict[str, Any]]


def is_foreign(state: object) -> TypeGuard[dict[str, Any]]:
    """Tells whether the reference module wrote a state."""
    return isinstance(state, dict) and "clients" in state and "format" not in state


def adopt(
    state: dict[str, Any], identity: Identity, now: float, life: int, limits: Limits
) -> list[Put]:
    """Returns the records for a state of the reference module.

    Of the clients without a live token, which anybody could leave there, the newest
    `Limits.stored_clients` are kept.

    Args:
        state: What its file holds.
        identity: Whose tokens they are from now on.
        now: POSIX time.
        life: Seconds for an access token without an expiry.
        limits: How much of what nobody approved is kept.

    Raises:
        StartRefused: The state is damaged, or holds more than that module ever wrote.
    """
    if more := sorted(set(state) - MEMBERS):
        raise StartRefused(
            "The state file looks like the reference module's and was left as it is, since it also"
            f" holds {more[0][:40]!a}: remove that from it, or move the file away to start anew."
        )
    try:
        return list(_records(state, identity, now, life, limits))
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise StartRefused(
            "The state file looks like the reference module's and is damaged; it was left as it"
            " is: move it away to start anew."
        ) from error


def say_adopted(puts: list[Put]) -> None:
    """Logs that a state was adopted."""
    audit.record(
        Event.ADOPTED,
        "Connections of an earlier server stay connected; nobody's password approved them."
        " To cut them all: password --revoke-all.",
        connections=sum(put.collection == "grants" for put in puts),
    )


def _records(
    state: dict[str, Any], identity: Identity, now: float, life: int, limits: Limits
) -> Iterator[Put]:
    access = _live(state.get("access_tokens"), now)
    refresh = _live(state.get("refresh_tokens"), now)
    holders = {token["client_id"] for token in [*access.values(), *refresh.values()]}
    clients = {key: _client(key, data, limits) for key, data in state["clients"].items()}
    waiting = [key for key in clients if key not in holders]
    for client_id in waiting[max(len(waiting) - limits.stored_clients, 0) :]:
        yield Put("clients", digest(client_id), clients[client_id].to_record())
    grants = {key: secrets.token_hex(GRANT_ID_CHARS // 2) for key in clients if key in holders}
    for client_id, gid in grants.items():
        client = clients[client_id].to_record()
        yield Put("clients", digest(client_id), client)
        grant = {
            "client": client,
            "scopes": SCOPES,
            "resource": identity.resource,
            "issuer": identity.issuer,
            "created": now,
            "epoch": "",
        }
        yield Put("grants", gid, grant)
    for token, data in access.items():
        if data["client_id"] in grants:
            expires = _ends(data, now + life)
            record = {"gid": grants[data["client_id"]], "exp": expires, "scopes": SCOPES}
            yield Put("tokens", digest(token), record, expires - now)
    for token, data in refresh.items():
        if data["client_id"] in grants:
            seed = secrets.token_hex(32)
            record = {"gid": grants[data["client_id"]], "seed": seed, "at": now}
            ends = _ends(data, math.inf)
            yield Put("refresh", digest(token), record, None if ends == math.inf else ends - now)


def _live(tokens: Tokens | None, now: float) -> Tokens:
    """Returns the tokens that have no expiry, or one that is still to come."""
    return {token: data for token, data in (tokens or {}).items() if _ends(data, math.inf) > now}


def _ends(token: dict[str, Any], otherwise: float) -> float:
    given = token.get("expires_at")
    if given is None:
        return otherwise
    if not isinstance(given, int | float) or not math.isfinite(given):
        raise TypeError("expires_at")
    return float(given)


def _client(client_id: str, data: dict[str, Any], limits: Limits) -> Client:
    secret, method = data.get("client_secret"), data.get("token_endpoint_auth_method")
    known = method if method in AUTH_METHODS else "client_secret_post"
    uris = data.get("redirect_uris") or []
    if not isinstance(uris, list):
        raise TypeError("redirect_uris")
    name = "".join(c for c in data.get("client_name") or "" if c.isprintable())
    return Client(
        id=client_id,
        name=name[: limits.client_name_chars],
        redirect_uris=tuple(str(uri) for uri in uris),
        auth_method=known if secret else "none",
        secret_hash=digest(secret) if secret else None,
    )
