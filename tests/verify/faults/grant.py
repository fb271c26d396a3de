"""Ways in which a connection does not go on, or does not end."""

from __future__ import annotations

from tests.verify.faults.making import Answering, Site, at, breaks, granting
from tests.verify.proxy import Answer, Asked, Fault, json_answer


@breaks("grant.retry", "a repeated refresh is answered with other tokens")
class _StrictRotation(Fault):
    """Puts the successor in the place of a refresh token that was used before."""

    def __init__(self, site: Site) -> None:
        self.successors: dict[str, str] = {}

    def before(self, asked: Asked) -> None:
        presented = asked.form.get("refresh_token", "") if asked.path == "/token" else ""
        if presented in self.successors:
            asked.form = {**asked.form, "refresh_token": self.successors[presented]}

    def after(self, asked: Asked, answer: Answer) -> None:
        if granting("refresh_token")(asked) and answer.status == 200:
            self.successors[asked.form["refresh_token"]] = answer.json["refresh_token"]


@breaks("grant.overlap", "a refresh ends the access token before it")
class _OldTokenDies(Fault):
    def __init__(self, site: Site) -> None:
        self.first = ""
        self.refreshed = False

    def before(self, asked: Asked) -> Answer | None:
        if self.refreshed and asked.headers.get("authorization") == f"Bearer {self.first}":
            return json_answer(401, {"error": "invalid_token"})
        return None

    def after(self, asked: Asked, answer: Answer) -> None:
        if asked.path == "/token" and answer.status == 200:
            self.refreshed = granting("refresh_token")(asked)
            self.first = self.first or answer.json["access_token"]


@breaks("grant.refresh", "a refresh token cannot be used")
def _(site: Site) -> Fault:
    refused = json_answer(400, {"error": "invalid_grant"})
    return Answering(granting("refresh_token"), lambda asked: refused)


@breaks("grant.revoke", "a revoked connection lives on", "stranger.revoke")
def _(site: Site) -> Fault:
    return Answering(at("/revoke"), lambda asked: json_answer(200, {}))


@breaks("grant.revoke", "a public client may not revoke", "stranger.revoke")
def _(site: Site) -> Fault:
    refused = json_answer(401, {"error": "invalid_client"})
    return Answering(at("/revoke"), lambda asked: refused)
