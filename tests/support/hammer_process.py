"""Does what `Processes.run` asks: forks one process for each work, reports what each answered.

A line of standard input is a list of works; a line of standard output the list of their answers.
The children connect first and begin at the same moment.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
from typing import Any

from personal_auth.errors import Refused
from personal_auth.grants import Grants
from tests.support.hammer import (
    CLIENT,
    START,
    VERIFIER,
    Call,
    Mortal,
    approval,
    grants_over,
    opened,
)


class Exit:
    """Ends the process at a random call of the store, as `kill -9` does."""

    def __init__(self, seed: object, death: float) -> None:
        self._random, self._death = random.Random(repr(seed)), death

    async def before(self, call: Call) -> None:
        await self._moment()

    async def after(self, call: Call) -> None:
        await self._moment()

    async def _moment(self) -> None:
        if self._random.random() < self._death:
            os._exit(9)
        await asyncio.sleep(self._random.random() * 0.002)


async def _step(grants: Grants, name: str, *values: str) -> object:
    try:
        if name == "issue":
            return await grants.codes.issue(approval(*values))
        if name == "check":
            return (await grants.check(*values)).grant_id
        if name == "revoke":
            return await grants.connections.revoke(*values)
        if name == "revoke_all":
            return await grants.connections.revoke_all() or True
        if name == "redeem":
            tokens = await grants.redeem(*values, CLIENT, None, VERIFIER)
        else:
            tokens = await grants.refresh(*values, CLIENT)
    except Refused as error:
        return error.code
    return [tokens.access, tokens.refresh, tokens.expires]


async def _work(url: str, work: dict[str, Any], go: int, out: int) -> None:
    async with opened(url) as store:
        await store.get("connect", collection="connect")
        os.write(out, b"ready\n")
        os.read(go, 1)
        mortal = Mortal(store, Exit(work.get("seed"), work.get("death", 0.0)))
        grants = grants_over(mortal, lambda: work.get("now", START))
        for step in work["steps"]:
            os.write(out, json.dumps(await _step(grants, *step)).encode() + b"\n")


def _fork(url: str, work: dict[str, Any], go: tuple[int, int]) -> Any:
    reading, writing = os.pipe()
    if os.fork() == 0:
        os.close(go[1])
        try:
            asyncio.run(_work(url, work, go[0], writing))
        except BaseException:
            sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
            os._exit(1)
        os._exit(0)
    os.close(writing)
    return os.fdopen(reading)


def main(url: str) -> None:
    for line in sys.stdin:
        go = os.pipe()
        works = json.loads(line)
        children = [_fork(url, work, go) for work in works]
        for child in children:
            child.readline()
        os.close(go[0])
        os.close(go[1])  # all see the end of this pipe at once
        answers = [[json.loads(answer) for answer in child] for child in children]
        codes = [os.waitstatus_to_exitcode(os.wait()[1]) for _ in children]
        if not set(codes) <= {0, 9}:
            raise SystemExit(1)
        print(json.dumps(answers), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
