"""Ways in which a connection does not go on, or does not end."""

from __future__ import annotations

from tests.verify.faults.making import (
    Answering,
    Changing,
    Site,
    at,
    breaks,
    calling,
    granting,
    refused_token,
    token_in,
    with_members,
)
from tests.verify.proxy import Answer, Asked, Fault, json_answer

REFUSED = {"error": "invalid_grant"}


@breaks("grant.retry", "a repeated refresh is answered with other tokens")
class _StrictRotation(Fault):
    """Puts the successor in the place of the first refresh token, once it was used."""

    def __init__(self, site: Site) -> None:
        self.first = self.successor = ""

    def before(self, asked: Asked) -> None:
        if self.successor and asked.form.get("refresh_token") == self.first:
            asked.form = {**asked.form, "refresh_token": self.successor}

    def after(self, asked: Asked, answer: Answer) -> None:
        if granting("refresh_token")(asked) and answer.status == 200 and not self.first:
            self.first, self.successor = asked.form["refresh_token"], answer.json["refresh_token"]


@breaks("grant.race", "of two refreshes at once one is refused")
class _OneOfTwo(Fault):
    def __init__(self, site: Site) -> None:
        self.presented: list[str] = []

    def before(self, asked: Asked) -> Answer | None:
        if not granting("refresh_token")(asked) or "scope" in asked.form:
            return None
        if not asked.form["refresh_token"].startswith("prt_"):
            return None  # made up
        token = asked.form["refresh_token"]
        repeated = token in self.presented[1:]  # the first one is retried later
        self.presented.append(token)
        return json_answer(400, REFUSED) if repeated else None


@breaks("grant.race", "of two refreshes at once one gets other tokens")
class _OtherTokens(Fault):
    def __init__(self, site: Site) -> None:
        self.presented: list[str] = []

    def after(self, asked: Asked, answer: Answer) -> None:
        plain = granting("refresh_token")(asked) and "scope" not in asked.form
        if plain and answer.status == 200:
            token = asked.form["refresh_token"]
            if token in self.presented[1:]:
                answer.json = {**answer.json, "refresh_token": "prt_other"}
            self.presented.append(token)


@breaks("grant.overlap", "a refresh ends the access token before it")
class _OldTokenDies(Fault):
    def __init__(self, site: Site) -> None:
        self.first = ""
        self.refreshed = False

    def before(self, asked: Asked) -> Answer | None:
        if self.refreshed and token_in(asked) == self.first:
            return refused_token()
        return None

    def after(self, asked: Asked, answer: Answer) -> None:
        if asked.path == "/token" and answer.status == 200:
            self.refreshed = granting("refresh_token")(asked)
            self.first = self.first or answer.json["access_token"]


@breaks("grant.lifetime", "a refreshed token lives for an hour only")
def _(site: Site) -> Fault:
    return Changing(granting("refresh_token"), with_members(expires_in=3600))


@breaks("grant.refresh", "a refresh token cannot be used")
def _(site: Site) -> Fault:
    refused = json_answer(400, REFUSED)
    return Answering(granting("refresh_token"), lambda asked: refused)


@breaks("grant.refresh", "a refreshed token opens nothing")
class _Unopened(Fault):
    def __init__(self, site: Site) -> None:
        self.given: set[str] = set()

    def before(self, asked: Asked) -> Answer | None:
        access = token_in(asked)
        return refused_token() if access in self.given else None

    def after(self, asked: Asked, answer: Answer) -> None:
        if granting("refresh_token")(asked) and answer.status == 200:
            self.given.add(answer.json["access_token"])


@breaks("grant.bound", "a refresh token serves every client")
class _AnybodyRefreshes(Fault):
    def __init__(self, site: Site) -> None:
        self.clients: dict[str, str] = {}

    def before(self, asked: Asked) -> None:
        if granting("refresh_token")(asked):
            client = self.clients.get(asked.form["refresh_token"], asked.form["client_id"])
            asked.form = {**asked.form, "client_id": client}

    def after(self, asked: Asked, answer: Answer) -> None:
        if asked.path == "/token" and answer.status == 200:
            self.clients[answer.json["refresh_token"]] = asked.form["client_id"]


@breaks("grant.bound", "another client is sent to register anew")
class _RefusedOtherwise(Fault):
    def __init__(self, site: Site) -> None:
        pass

    def after(self, asked: Asked, answer: Answer) -> None:
        if "another client" in str(answer.json) and granting("refresh_token")(asked):
            answer.status, answer.json = 401, {"error": "invalid_client"}


def asks_for_more(asked: Asked) -> bool:
    return granting("refresh_token")(asked) and " " in asked.form.get("scope", "")


class _Unheld(Fault):
    """Lets a read-only connection do all that the connection before it may, in one method."""

    def __init__(self, method: str) -> None:
        self.method = method
        self.wide = self.reading = ""

    def before(self, asked: Asked) -> None:
        if calling(self.method)(asked) and self.reading and token_in(asked) == self.reading:
            asked.headers["authorization"] = f"Bearer {self.wide}"

    def after(self, asked: Asked, answer: Answer) -> None:
        if asked.path == "/token" and answer.status == 200:
            if asked.form.get("scope") == "tools:read":
                self.reading = answer.json["access_token"]
            else:
                self.wide = answer.json["access_token"]


@breaks("grant.reading", "a read-only connection sees every tool")
def _(site: Site) -> Fault:
    return _Unheld("tools/list")


@breaks("grant.reading", "a read-only connection calls what is hidden from it")
def _(site: Site) -> Fault:
    return _Unheld("tools/call")


@breaks("grant.reading", "who asks only to read is granted everything")
class _NotNarrowed(Fault):
    def __init__(self, site: Site) -> None:
        pass

    def after(self, asked: Asked, answer: Answer) -> None:
        if granting("refresh_token")(asked) and asked.form.get("scope") == "tools:read":
            answer.json = {**answer.json, "scope": "tools"}


@breaks("grant.scope", "a refresh widens what was granted")
class _Widened(Fault):
    def __init__(self, site: Site) -> None:
        self.asked_for = ""

    def before(self, asked: Asked) -> None:
        self.asked_for = asked.form["scope"] if asks_for_more(asked) else ""
        if self.asked_for:
            asked.form = {name: value for name, value in asked.form.items() if name != "scope"}

    def after(self, asked: Asked, answer: Answer) -> None:
        if self.asked_for:
            answer.json = {**answer.json, "scope": self.asked_for}


@breaks("grant.scope", "asking for more breaks the server")
def _(site: Site) -> Fault:
    return Answering(
        asks_for_more,
        lambda asked: json_answer(500, {"error": "server_error"}),
    )


@breaks("grant.revoke", "a refresh token that is revoked lives on", leaves=True)
def _(site: Site) -> Fault:
    return Answering(
        lambda asked: asked.path == "/revoke" and asked.form["token"].startswith("prt_"),
        lambda asked: json_answer(200, {}),
    )


@breaks(
    "grant.revoke",
    "a public client may not revoke",
    "grant.revoke_access",
    "stranger.revoke",
    leaves=True,
)
def _(site: Site) -> Fault:
    refused = json_answer(401, {"error": "invalid_client"})
    return Answering(at("/revoke"), lambda asked: refused)


@breaks("grant.revoke_access", "revoking an access token ends nothing")
def _(site: Site) -> Fault:
    return Answering(
        lambda asked: asked.path == "/revoke" and asked.form["token"].startswith("pat_"),
        lambda asked: json_answer(200, {}),
    )


@breaks("grant.revoke_access", "a refresh token outlives its access token")
class _RefreshOutlives(Fault):
    """Ends the access token alone."""

    def __init__(self, site: Site) -> None:
        self.revoked: set[str] = set()

    def before(self, asked: Asked) -> Answer | None:
        access = token_in(asked)
        if asked.path == "/revoke" and asked.form["token"].startswith("pat_"):
            self.revoked.add(asked.form["token"])
            return json_answer(200, {})
        return refused_token() if access in self.revoked else None


@breaks("grant.ended", "a client is not told that its token is no good")
class _Untold(Fault):
    def __init__(self, site: Site) -> None:
        pass

    def after(self, asked: Asked, answer: Answer) -> None:
        if token_in(asked).startswith("pat_"):
            told = answer.headers.get("www-authenticate", "")
            answer.headers["www-authenticate"] = told.replace('error="invalid_token", ', "")
