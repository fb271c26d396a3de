"""Ways in which a server can be broken, each with the check that must notice it."""

from tests.verify.faults import (
    door,
    edge,
    foreign,
    grant,
    metadata,
    owner,
    ownerpage,
    protocol,
    reach,
    refusals,
    state,
    stranger,
    tools,
)
from tests.verify.faults.making import BROKEN, VARIANTS, Broken

__all__ = [
    "BROKEN",
    "VARIANTS",
    "door",
    "edge",
    "faults_of",
    "foreign",
    "grant",
    "metadata",
    "owner",
    "ownerpage",
    "protocol",
    "reach",
    "refusals",
    "state",
    "stranger",
    "tools",
    "variants_of",
]


def faults_of(*groups: str) -> list[Broken]:
    """Returns the faults that checks of some groups must notice."""
    return [broken for broken in BROKEN if broken.check.partition(".")[0] in groups]


def variants_of(*groups: str) -> list[Broken]:
    """Returns further faults, each noticed by the same check as one of the others."""
    return [broken for broken in VARIANTS if broken.check.partition(".")[0] in groups]
