"""Ways in which an approval or a code does what it should not."""

from __future__ import annotations

import base64
import hashlib

from tests.verify.faults.making import (
    Asking,
    Changing,
    Site,
    asking,
    breaks,
    deciding,
    granting,
    with_location,
    with_members,
    without,
)
from tests.verify.proxy import Answer, Asked, Fault, json_answer


@breaks("owner.sign_in", "every password is right")
def _(site: Site) -> Fault:
    def change(asked: Asked) -> None:
        asked.form = {**asked.form, "password": site.password}

    return Asking(lambda asked: deciding(asked) and "password" in asked.form, change)


@breaks("owner.sign_in", "Approve is answered with 307")
def _(site: Site) -> Fault:
    return Changing(deciding, with_location("", "", status=307))


@breaks("owner.sign_in", "iss is missing")
def _(site: Site) -> Fault:
    return Changing(deciding, with_location(r"&iss=[^&]*", ""))


@breaks("owner.sign_in", "iss ends with a slash")
def _(site: Site) -> Fault:
    return Changing(deciding, with_location(r"(&iss=[^&]*)", r"\1%2F"))


@breaks("owner.sign_in", "state is lost")
def _(site: Site) -> Fault:
    return Changing(deciding, with_location(r"&state=[^&]*", ""))


@breaks("owner.token", "there is no refresh token")
def _(site: Site) -> Fault:
    return Changing(granting("authorization_code"), with_members(refresh_token=...))


@breaks("owner.token", "it is not said how long the token lives")
def _(site: Site) -> Fault:
    return Changing(granting("authorization_code"), with_members(expires_in=...))


@breaks("owner.token", "the token answer may be cached")
def _(site: Site) -> Fault:
    return Changing(granting("authorization_code"), without("cache-control"))


@breaks("owner.code_once", "a code works twice")
class _CodeTwice(Fault):
    def __init__(self, site: Site) -> None:
        self.answers: dict[str, Answer] = {}

    def after(self, asked: Asked, answer: Answer) -> None:
        code = asked.form.get("code", "") if asked.path == "/token" else ""
        if code and answer.status == 200:
            self.answers[code] = Answer(200, dict(answer.headers), answer.body)
        elif code in self.answers:
            answer.status, answer.body = 200, self.answers[code].body


@breaks("owner.verifier", "a code survives a wrong verifier")
class _CodeSurvives(Fault):
    def __init__(self, site: Site) -> None:
        self.challenges: set[str] = set()

    def before(self, asked: Asked) -> Answer | None:
        if asking(asked):
            self.challenges.add(asked.query.get("code_challenge", ""))
        if not granting("authorization_code")(asked) or "pac_" not in asked.form["code"]:
            return None
        hashed = hashlib.sha256(asked.form["code_verifier"].encode()).digest()
        challenge = base64.urlsafe_b64encode(hashed).decode().rstrip("=")
        return (
            None if challenge in self.challenges else json_answer(400, {"error": "invalid_grant"})
        )
