"""The page on troubles, as a project has it: its journeys and the commands of each."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

REST = "All else"


@dataclass(frozen=True)
class Journey:
    """One heading of the page; each command is its whole line, the remark included."""

    steps: int
    uv: list[str]
    docker: list[str]


def journeys(project: Path) -> dict[str, Journey]:
    """Returns the journeys of the page by their headings."""
    _, *sections = (project / "docs/troubleshooting.md").read_text("utf-8").split("\n## ")
    titled = [section.partition("\n")[::2] for section in sections]
    return {title: _journey(body) for title, body in titled if title != REST}


def links(project: Path) -> list[tuple[str, str]]:
    """Returns the name and the place of each link in the page's list."""
    text = (project / "docs/troubleshooting.md").read_text("utf-8")
    return re.findall(r"^- \[(.+)\]\(#(.+?)\)", text, re.MULTILINE)


def fill(command: str, **words: str) -> str:
    """Puts a person's own words in the place of those that stand for them."""
    for word, own in words.items():
        assert len(re.findall(rf"\b{word}\b", command)) == 1, (word, command)
        command = re.sub(rf"\b{word}\b", lambda _, own=own: own, command)
    return command


def _journey(body: str) -> Journey:
    fenced = re.findall(r"^```\n(.*?)^```$", body, re.MULTILINE | re.DOTALL)
    commands = [line for block in fenced for line in block.splitlines() if line]
    return Journey(
        steps=len(re.findall(r"^\d\. ", body, re.MULTILINE)),
        uv=[line for line in commands if not line.startswith("docker ")],
        docker=[line for line in commands if line.startswith("docker ")],
    )
