"""The line to a server: who asks it, how long an answer is waited for, and how that fails."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from itertools import islice
from typing import Any

import httpx2

from personal_verify.checks import LOG, Failed, Unreachable
from personal_verify.known import CLIENT
from personal_verify.patience import Late, Patience, whole
from personal_verify.project import is_loopback
from personal_verify.together import Given
from personal_verify.unreachable import TIMEOUT_SECONDS, why_unreachable

MOST_PIECES = 100  # of a stream that may have no end


class Line:
    """Sends requests to one server, and where it leads."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.patience = Patience()
        self._closing = ExitStack()
        # Set apart from trust_env, which also decides about proxies: SSL_CERT_FILE always counts.
        self.tls = httpx2.create_ssl_context()
        self._client = self.new_client(CLIENT)
        self._abroad: httpx2.Client | None = None

    def new_client(self, agent: str) -> httpx2.Client:
        """Returns somebody who comes with an empty cookie jar."""
        client = httpx2.Client(
            base_url=self.url,
            headers={"User-Agent": agent},
            timeout=TIMEOUT_SECONDS,
            verify=self.tls,
            trust_env=not is_loopback(self.url),  # no proxy leads to this computer
        )
        return self._closing.enter_context(client)

    def _for(self, address: str) -> httpx2.Client:
        """Returns who asks at an address: of this computer without a proxy."""
        if is_loopback(address) or not is_loopback(self.url) or address.startswith("/"):
            return self._client
        if self._abroad is None:
            agent = {"User-Agent": CLIENT}
            client = httpx2.Client(headers=agent, timeout=TIMEOUT_SECONDS, verify=self.tls)
            self._abroad = self._closing.enter_context(client)
        return self._abroad

    def close(self) -> None:
        self._closing.close()

    def send(
        self, method: str, path: str, client: httpx2.Client | None = None, **options: Any
    ) -> httpx2.Response:
        """Returns the answer to one request, redirects not followed.

        Raises:
            Unreachable: There is no connection.
            Failed: The connection broke, or there was no answer in time.
        """
        client, what = client or self._for(path), f"{method} {path}"

        def ask() -> httpx2.Response:
            with client.stream(method, path, **options) as response:
                return whole(response, what)

        return self._asked(what, path, ask, options.get("timeout", TIMEOUT_SECONDS))

    def begin(self, method: str, path: str, **options: Any) -> httpx2.Response:
        """Returns the beginning of an answer, which may have no end; raises as `send` does."""

        def ask() -> httpx2.Response:
            with self._client.stream(method, path, **options) as response:
                return response

        what = f"{method} {path}"
        return self._asked(what, path, ask, options.get("timeout", TIMEOUT_SECONDS))

    def arrivals(self, path: str, **headers: str) -> list[float]:
        """Returns when each piece of an event stream arrived, in seconds; none for other answers.

        Raises as `send` does.
        """

        def ask() -> list[float]:
            with self._client.stream("GET", path, headers=headers) as response:
                if not response.headers.get("content-type", "").startswith("text/event-stream"):
                    return []
                pieces = islice(filter(None, response.iter_bytes()), MOST_PIECES)
                return [time.monotonic() for _ in pieces]

        return self._asked(f"GET {path}", path, ask, TIMEOUT_SECONDS)

    def _asked(self, what: str, where: str, ask: Callable[[], Given], seconds: float) -> Given:
        try:
            return self.patience.wait(what, ask, seconds)
        except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
            elsewhere = not where.startswith(("/", f"{self.url}/"))
            failure = Failed if elsewhere else Unreachable
            raise failure(*why_unreachable(error, where if elsewhere else self.url)) from error
        except httpx2.TimeoutException as error:
            raise Late(f"{what} got no answer within {seconds:.0f} s.", LOG) from error
        except (httpx2.HTTPError, httpx2.InvalidURL, UnicodeError) as error:
            cause = f"{what} got no proper answer ({type(error).__name__})."
            raise Failed(cause, "Look at the log of the server and of the tunnel.") from error
