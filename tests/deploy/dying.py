"""Extends a server so that it can be told to die after so many more writes to its store."""

import asyncio
import os
import signal

from starlette.responses import PlainTextResponse


def extend(server):
    store, death = server.auth.service.records.store, Death()
    store.put, store.delete = death.after(store.put), death.after(store.delete)

    @server.custom_route("/die", methods=["POST"])
    async def die(request):
        death.writes_left = int(request.query_params["after"])
        return PlainTextResponse("The next request is the last.")


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
