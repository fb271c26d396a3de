"""Do the instructions make an assistant use the tools rather than its own features?"""

from __future__ import annotations

import re

from personal_verify.checks import check, expect
from personal_verify.language import directs
from personal_verify.mending import in_instructions, named
from personal_verify.visit import Visit

LONGEST = 2048  # where Claude Code cuts them


@check("protocol.instructions", "It has instructions", "protocol.initialize")
def _(visit: Visit) -> str:
    expect(
        instructions_of(visit),
        "There are no instructions, so assistants are not told when to use the tools.",
        in_instructions(visit, "say when to use the tools"),
    )
    return f"{len(instructions_of(visit)):,} characters"


@check(
    "protocol.directive",
    "Instructions say when to use tools",
    *("protocol.instructions", "protocol.tools"),
)
def _(visit: Visit) -> str:
    text = instructions_of(visit)
    unfilled = re.search(r"\{+\s*[a-z_]*prefix\s*\}+", text)
    expect(
        not unfilled,
        f"The instructions say {unfilled[0] if unfilled else ''} where the prefix should be.",
        in_instructions(visit, "write {prefix} exactly so"),
    )
    names = [str(tool["name"]) for tool in visit.tools]
    prefixes = sorted({f"{name.partition('_')[0]}_" for name in names if "_" in name})
    told = [name for name in names if re.search(rf"\b{re.escape(name)}\b", text)]
    told += [prefix for prefix in prefixes if prefix in text]
    expect(
        told,
        f"The instructions name no tool and not {named(prefixes) or 'what they begin with'}, so"
        " assistants may prefer their own features.",
        in_instructions(visit, f"name the tools{', as {prefix}_...' if visit.ours else ''}"),
    )
    expect(
        directs(text),
        "The instructions describe the server and do not say when to use its tools.",
        in_instructions(visit, "begin with a sentence such as `ALWAYS use these tools when ...`"),
    )
    return f"they name {told[-1]} and say when"


@check(
    "protocol.stale",
    "Instructions name real tools",
    *("protocol.instructions", "protocol.tools"),
    ours=True,
)
def _(visit: Visit) -> str:
    names = {str(tool["name"]) for tool in visit.tools}
    prefixes = {name.partition("_")[0] for name in names}
    told = re.findall(r"\b[a-z0-9]+_[a-z0-9_]*[a-z0-9]\b", instructions_of(visit))
    gone = [word for word in told if word.partition("_")[0] in prefixes and word not in names]
    expect(
        not gone,
        f"The instructions name {named(gone)}, which no tool is called.",
        in_instructions(visit, "correct the name, or remove it"),
    )
    return f"{len(names & set(told))} by name"


@check("protocol.cut", "The instructions are not cut", "protocol.instructions")
def _(visit: Visit) -> str:
    length = len(instructions_of(visit))
    expect(
        length <= LONGEST,
        f"Claude Code cuts the {length:,} characters of the instructions after {LONGEST:,}.",
        in_instructions(visit, "keep when to use the tools, and move the rest into descriptions"),
    )
    return f"{length:,} of {LONGEST:,} characters"


def instructions_of(visit: Visit) -> str:
    return str(visit.greeting.get("instructions") or "").strip()
