"""Ways in which an approval or a code does what it should not."""

from __future__ import annotations

import base64
import hashlib

from tests.verify.faults.making import (
    Asking,
    Changing,
    Site,
    approving,
    asking,
    breaks,
    denying,
    granting,
    with_location,
    with_members,
    without,
)
from tests.verify.proxy import Answer, Asked, Fault, html_answer, json_answer


@breaks("owner.wrong_password", "every password is right")
def _(site: Site) -> Fault:
    def change(asked: Asked) -> None:
        asked.form = {**asked.form, "password": site.password}

    return Asking(lambda asked: approving(asked) and "password" in asked.form, change)


@breaks("owner.wrong_password", "a wrong password leads to an error page")
class _NoSecondTry(Fault):
    def __init__(self, site: Site) -> None:
        pass

    def after(self, asked: Asked, answer: Answer) -> None:
        if approving(asked) and answer.status == 403:
            answer.body = html_answer(403, "Forbidden").body


@breaks("owner.sign_in", "Approve leads to another place")
def _(site: Site) -> Fault:
    return Changing(approving, with_location("^[^?]*", "https://claude.com/elsewhere"))


@breaks("owner.sign_in", "Approve sends no code")
def _(site: Site) -> Fault:
    return Changing(approving, with_location("code=[^&]*&", ""))


@breaks("owner.sign_in", "Approve leads nowhere")
class _ApprovedPage(Fault):
    def __init__(self, site: Site) -> None:
        pass

    def after(self, asked: Asked, answer: Answer) -> None:
        if approving(asked) and answer.status == 303:
            page = html_answer(200, "Approved")
            answer.status, answer.headers, answer.body = 200, page.headers, page.body


@breaks("owner.see_other", "Approve is answered with 307")
def _(site: Site) -> Fault:
    return Changing(approving, with_location("", "", status=307))


@breaks("owner.iss", "iss is missing")
def _(site: Site) -> Fault:
    return Changing(approving, with_location(r"&iss=[^&]*", ""))


@breaks("owner.iss", "iss ends with a slash")
def _(site: Site) -> Fault:
    return Changing(approving, with_location(r"(&iss=[^&]*)", r"\1%2F"))


@breaks("owner.state", "state is lost")
def _(site: Site) -> Fault:
    return Changing(approving, with_location(r"&state=[^&]*", ""))


@breaks("owner.deny", "Deny connects the app")
class _DenyApproves(Fault):
    def __init__(self, site: Site) -> None:
        self.password = site.password

    def before(self, asked: Asked) -> None:
        if denying(asked):
            asked.form = {**asked.form, "decision": "approve", "password": self.password}


@breaks("owner.deny", "the client does not learn that it was denied")
def _(site: Site) -> Fault:
    return Changing(denying, with_location("error=access_denied", "error=server_error"))


@breaks("owner.deny", "Deny sends no state")
def _(site: Site) -> Fault:
    return Changing(denying, with_location(r"&state=[^&]*", ""))


@breaks("owner.deny", "Deny does not say who answers")
def _(site: Site) -> Fault:
    return Changing(denying, with_location(r"&iss=[^&]*", ""))


@breaks("owner.token", "there is no refresh token")
def _(site: Site) -> Fault:
    return Changing(granting("authorization_code"), with_members(refresh_token=...))


@breaks("owner.token", "it is not said how long the token lives")
def _(site: Site) -> Fault:
    return Changing(granting("authorization_code"), with_members(expires_in=...))


@breaks("owner.token", "the life of the token is no whole number")
def _(site: Site) -> Fault:
    return Changing(granting("authorization_code"), with_members(expires_in=3600.5))


@breaks("owner.token", "the token answer has a null member")
def _(site: Site) -> Fault:
    return Changing(granting("authorization_code"), with_members(id_token=None))


@breaks("owner.caching", "the token answer may be cached")
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


class Rebinding(Fault):
    """Presents each code as it was issued, whoever presents it, in one respect."""

    def __init__(self, asked_for: str) -> None:
        self.asked_for = asked_for
        self.last = ""  # nobody redeems an older code

    def before(self, asked: Asked) -> None:
        if asking(asked):
            self.last = asked.query[self.asked_for]
        elif granting("authorization_code")(asked) and "pac_" in asked.form["code"]:
            asked.form = {**asked.form, self.asked_for: self.last}


@breaks("owner.bound", "a code serves every client")
def _(site: Site) -> Fault:
    return Rebinding("client_id")


@breaks("owner.bound", "the redirect URI of a code is not compared")
def _(site: Site) -> Fault:
    return Rebinding("redirect_uri")


@breaks("owner.resource", "the resource is not looked at")
def _(site: Site) -> Fault:
    def change(asked: Asked) -> None:
        asked.form = {name: value for name, value in asked.form.items() if name != "resource"}

    return Asking(granting("authorization_code"), change)


@breaks("owner.resource", "another server's resource is refused as if the code were wrong")
class _WrongRefusal(Fault):
    def __init__(self, site: Site) -> None:
        pass

    def after(self, asked: Asked, answer: Answer) -> None:
        if "stranger" in asked.form.get("resource", ""):
            answer.json = {"error": "invalid_grant"}
