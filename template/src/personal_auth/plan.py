"""What one authorization server is made from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from personal_auth.client import Client
from personal_auth.clients import Prove
from personal_auth.documents import Fetch
from personal_auth.identity import Identity
from personal_auth.limits import Limits
from personal_auth.statedir import StateDir
from personal_auth.store import KeyValue
from personal_auth.trail import Trail


@dataclass(frozen=True)
class Plan:
    """Every choice that its owner has; `storage` None keeps the state in the state directory."""

    identity: Identity
    limits: Limits
    state_dir: StateDir
    storage: KeyValue | None
    password: str | None = field(repr=False)
    access_seconds: int
    refresh_seconds: int | None
    load: Callable[[], dict[str, Any] | None]
    save: Callable[[bytes], None]
    clock: Callable[[], float]
    fetch: Fetch
    prove: Prove
    own_clients: Mapping[str, Client]
    trail: Trail | None = None
