"""Ways in which a server does not outlive a restart, or what it knew does not."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from tests.verify.faults.making import Site, breaks, granting, refused_token, token_in
from tests.verify.proxy import Answer, Asked, Fault, json_answer


class Restarting(Fault):
    """What is broken by a restart; nothing, unless it is overridden."""

    failure = ""  # of the command, in the server's place
    comes_back = True
    really = True  # else the proxy feigns it: what breaks is the proxy's to break

    def __init__(self, site: Site) -> None:
        self.restarted = False
        self.away = 0

    def before(self, asked: Asked) -> Answer | None:
        """Answers as a proxy does whose server is away."""
        self.away -= 1
        return Answer(502) if self.away > 0 else None

    def while_down(self, state: Path) -> None:
        """Alters what the server has stored."""
        self.restarted = True


@breaks("state.restart", "the command fails")
class _CommandFails(Restarting):
    failure = "Unit my-servr.service not found."


@breaks("state.restart", "the server does not come back", leaves=True)
class _StaysAway(Restarting):
    comes_back = False


@breaks("state.token", "all state is lost", "state.client", "state.refresh")
class _StateLost(Restarting):
    def while_down(self, state: Path) -> None:
        shutil.rmtree(state)


@breaks("state.client", "the key that seals is lost", "state.refresh", leaves=True)
class _KeyLost(Restarting):
    def while_down(self, state: Path) -> None:
        file = state / "oauth_tokens.json"
        whole = json.loads(file.read_text())
        del whole["rows"]["owner"]["key"]
        file.write_text(json.dumps(whole))


@breaks("state.token", "access tokens are kept in memory only")
class _TokensLost(Restarting):
    really = False

    def __init__(self, site: Site) -> None:
        super().__init__(site)
        self.given: set[str] = set()

    def before(self, asked: Asked) -> Answer | None:
        access = token_in(asked)
        lost = self.restarted and access in self.given
        return refused_token() if lost else super().before(asked)

    def after(self, asked: Asked, answer: Answer) -> None:
        if asked.path == "/token" and answer.status == 200 and not self.restarted:
            self.given.add(answer.json["access_token"])


@breaks("state.refresh", "refresh tokens are kept in memory only")
class _RefreshLost(Restarting):
    really = False

    def before(self, asked: Asked) -> Answer | None:
        lost = self.restarted and granting("refresh_token")(asked)
        return json_answer(400, {"error": "invalid_grant"}) if lost else super().before(asked)


@breaks("state.refresh", "what is refreshed after a restart opens nothing")
class _RefreshedForNothing(Restarting):
    really = False

    def __init__(self, site: Site) -> None:
        super().__init__(site)
        self.given: set[str] = set()

    def before(self, asked: Asked) -> Answer | None:
        access = token_in(asked)
        return refused_token() if access in self.given else super().before(asked)

    def after(self, asked: Asked, answer: Answer) -> None:
        if self.restarted and granting("refresh_token")(asked) and answer.status == 200:
            self.given.add(answer.json["access_token"])
