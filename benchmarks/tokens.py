"""What it costs to check a valid access token, however many are live.

Each way is FastMCP's `verify_token`: from a token to an AccessToken, in processor time, so what the
proxy waits for its files is not counted. Ten tokens are presented in turn, as an owner's clients
present theirs, among 10, 10,000 or 100,000 that are live in the state file; one row presents a
thousand, which the nearest caches of the processor cannot hold. The in-memory provider holds as
many as ours; the proxy holds ten, which favours it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks import peers
from benchmarks.direct import Run
from benchmarks.measure import CPU, Goal, Row, Scale, Way, in_turns, ratios, row
from benchmarks.peers import IN_USE, LIFE, Verifier
from personal_auth import PersonalAuthProvider
from personal_auth.sealing import digest
from personal_auth.statedir import STATE_FILE
from tests.support.site import QUICK_HASH, URL

PART = "tokens"
MANY_IN_USE = 1000
CHECKS, OF_JWTS, OF_THE_PROXY = 20_000, 2000, 200


def rows(scale: Scale) -> Iterator[Row]:
    few, some, many = 10, scale.of(10_000, 20), scale.of(100_000, 50)
    number = scale.of(CHECKS, 20)
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        run = stack.enter_context(asyncio.Runner()).run
        providers, memory = {}, {}
        for count in (few, some, many):
            provider, tokens = _filled(run, folder / str(count), count)
            stack.callback(_stopped, run, provider)
            providers[count] = provider, tokens
            memory[count] = peers.in_memory(tokens, _spread(tokens, IN_USE))
        ours = [
            _settled(run, *providers[count], in_use)
            for count, in_use in (
                (few, IN_USE),
                (some, IN_USE),
                (many, IN_USE),
                (many, MANY_IN_USE),
            )
        ]
        proxy = stack.enter_context(peers.proxy(run, folder / "fastmcp"))
        at_few, at_some, at_many, in_use, memory_few, memory_many, jwt, proxied = in_turns(
            scale,
            *(_checking(run, each, number) for each in (*ours, memory[few], memory[many])),
            _checking(run, peers.jwt(), scale.of(OF_JWTS, 10)),
            _checking(run, proxy, scale.of(OF_THE_PROXY, 10)),
        )
    for count, own, peer in ((few, at_few, memory_few), (many, at_many, memory_many)):
        name = f"a valid token among {count:,}"
        yield row(PART, name, "FastMCP's OAuth proxy", ratios(own, proxied), Goal(most=1 / 200))
        yield row(PART, name, "an RS256 JWT", ratios(own, jwt), Goal(most=1 / 8))
        yield row(PART, name, "FastMCP's in-memory provider", ratios(own, peer), Goal())
    for count, own in ((some, at_some), (many, at_many)):
        name = f"a valid token among {count:,}"
        yield row(PART, name, f"among {few}", ratios(own, at_few), Goal(most=1.2))
    name = f"a valid token among {many:,}, {MANY_IN_USE:,} in use"
    yield row(PART, name, f"{IN_USE} in use", ratios(in_use, at_many), Goal())


def _filled(run: Run, state: Path, count: int) -> tuple[PersonalAuthProvider, list[str]]:
    """Returns a provider on a state file with so many connections, and their access tokens."""
    gid, token = run(_one_connection(state))
    path = state / STATE_FILE
    document = json.loads(path.read_text())
    grants, tokens = document["rows"]["grants"], document["rows"]["tokens"]
    grant, opens = grants[gid], tokens[digest(token)]
    live = [token]
    while len(live) < count:
        another, token = secrets.token_hex(8), f"pat_{secrets.token_urlsafe(32)}"
        live.append(token)
        grants[another] = grant
        tokens[digest(token)] = {**opens, "value": {**opens["value"], "gid": another}}
    path.write_text(json.dumps(document))
    return _opened(state), live


def _opened(state: Path) -> PersonalAuthProvider:
    provider = PersonalAuthProvider(URL, QUICK_HASH, state_dir=state)
    provider.get_routes("/mcp")
    return provider


def _stopped(run: Run, provider: PersonalAuthProvider) -> None:
    run(provider.service.stop())


async def _one_connection(state: Path) -> tuple[str, str]:
    service = _opened(state).service
    made = await service.grants.issue_token("a script", read_only=False, seconds=LIFE)
    await service.stop()
    return made


def _spread(tokens: Sequence[str], number: int) -> list[str]:
    """Returns about so many tokens, from all over."""
    return list(tokens[:: max(len(tokens) // number, 1)])


def _settled(
    run: Run, provider: PersonalAuthProvider, tokens: Sequence[str], in_use: int
) -> Verifier:
    """Returns ours, once it has nothing to write about these tokens for a minute."""
    verifier, service = Verifier(provider.verify_token, _spread(tokens, in_use)), provider.service

    async def settle() -> None:
        for token in verifier.used:
            await verifier.check(token)
        await service.seen.write()
        await service.records.settle()

    run(settle())
    return verifier


def _checking(run: Run, verifier: Verifier, number: int) -> Way:
    """Returns a way that checks tokens in turn and answers what one takes, in µs of CPU."""
    rounds = max(number // len(verifier.used), 1)

    async def check() -> float:
        began = CPU()
        for _ in range(rounds):
            for token in verifier.used:
                if await verifier.check(token) is None:
                    raise AssertionError("a valid token is refused")
        return (CPU() - began) / rounds / len(verifier.used) * 1_000_000

    return lambda: float(run(check()))
