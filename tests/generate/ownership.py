"""Who owns which rendered file, as the table at the top of copier.yml says it."""

from __future__ import annotations

from typing import Any

import yaml

from tests.generate.project import ROOT

CONFIGURATION: dict[str, Any] = yaml.safe_load((ROOT / "copier.yml").read_text("utf-8"))
OWNERSHIP: dict[str, dict[str, str]] = CONFIGURATION["ownership"]["default"]


def owners(path: object, package: str) -> list[str]:
    """Returns the class of every row that is about the path."""
    found = []
    for owner, rows in OWNERSHIP.items():
        for row in rows:
            place = row.replace("PACKAGE", package)
            is_about = str(path).startswith(place) if place.endswith("/") else str(path) == place
            found += [owner] if is_about else []
    return found
