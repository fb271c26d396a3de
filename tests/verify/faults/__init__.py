"""Ways in which a server can be broken, each with the check that must notice it."""

from tests.verify.faults import edge, grant, metadata, owner, protocol, reach, state, stranger
from tests.verify.faults.making import BROKEN, Broken

__all__ = [
    "BROKEN",
    "edge",
    "faults_of",
    "grant",
    "metadata",
    "owner",
    "protocol",
    "reach",
    "state",
    "stranger",
]


def faults_of(*groups: str) -> list[Broken]:
    """Returns the faults that checks of some groups must notice."""
    return [broken for broken in BROKEN if broken.check.partition(".")[0] in groups]
