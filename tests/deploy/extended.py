"""Extends a server: it meets others at its first start, and dies after so many writes when told."""

import asyncio
import os
import signal
from pathlib import Path

from starlette.responses import PlainTextResponse


def extend(server):
    store, death = server.auth.service.records.store, Death()
    store.put, store.delete = death.after(store.put), death.after(store.delete)
    store.put_many = one_by_one(store.put)
    store.put_new = together(store.put_new)

    @server.custom_route("/die", methods=["POST"])
    async def die(request):
        death.writes_left = int(request.query_params["after"])
        return PlainTextResponse("The next request is the last.")


def one_by_one(put):
    """Writes as a store does that ends in the middle of what it is sent together."""

    async def put_many(puts):
        for each in puts:
            await put(each.key, each.value, collection=each.collection, ttl=each.ttl)

    return put_many


def together(write):
    """Lets nobody write before all have seen that nothing is there."""

    async def met(put):
        folder = Path(os.environ["MEETING_PLACE"])
        (folder / str(os.getpid())).touch()
        async with asyncio.timeout(4):
            while len(os.listdir(folder)) < 4:
                await asyncio.sleep(0.01)
        return await write(put)

    return met


class Death:
    def __init__(self):
        self.writes_left = None
        self._one_at_a_time = asyncio.Lock()  # so that exactly so many are made

    def after(self, write):
        async def counted(*arguments, **named):
            if self.writes_left is None or named["collection"] == "readiness":
                return await write(*arguments, **named)
            async with self._one_at_a_time:
                self._come_when_due()
                answer = await write(*arguments, **named)
                self.writes_left -= 1
                self._come_when_due()
                return answer

        return counted

    def _come_when_due(self):
        if self.writes_left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
