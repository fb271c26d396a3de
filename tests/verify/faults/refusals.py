"""Ways in which strangers are refused so that clients do not understand it."""

from __future__ import annotations

from tests.verify.faults.making import (
    Answering,
    Changing,
    Site,
    breaks,
    exactly,
    granting,
)
from tests.verify.proxy import Answer, Asked, Fault, html_answer, json_answer


@breaks("stranger.code", "a made-up code is refused as if the client were unknown")
def _(site: Site) -> Fault:
    refused = json_answer(401, {"error": "invalid_client"})
    return Answering(
        lambda asked: granting("authorization_code")(asked) and "pac_" not in asked.form["code"],
        lambda asked: refused,
    )


@breaks("stranger.code", "a refused code comes with status 401")
def _(site: Site) -> Fault:
    def when(asked: Asked) -> bool:
        return granting("authorization_code")(asked) and "pac_" not in asked.form["code"]

    def change(answer: Answer) -> None:
        answer.status = 401 if answer.json["error"] == "invalid_grant" else answer.status

    return Changing(when, change)


def made_up_refresh(asked: Asked) -> bool:
    return granting("refresh_token")(asked) and "prt_" not in asked.form["refresh_token"]


@breaks("stranger.refresh", "a made-up refresh token gets tokens")
def _(site: Site) -> Fault:
    tokens = {"access_token": "made_up", "token_type": "Bearer", "expires_in": 3600}
    return Answering(made_up_refresh, lambda asked: json_answer(200, tokens))


@breaks("stranger.refresh", "a made-up refresh token is refused with 401")
def _(site: Site) -> Fault:
    refused = json_answer(401, {"error": "invalid_grant"})
    return Answering(made_up_refresh, lambda asked: refused)


@breaks("stranger.client", "a client that is lost is not told to register anew")
def _(site: Site) -> Fault:
    def change(answer: Answer) -> None:
        if answer.json.get("error") == "invalid_client":
            answer.status, answer.json = 401, {"error": "unauthorized_client"}

    return Changing(granting("authorization_code"), change)


@breaks("stranger.revoke", "anybody may revoke")
def _(site: Site) -> Fault:
    return Answering(
        lambda asked: asked.path == "/revoke" and "client_id" not in asked.form,
        lambda asked: json_answer(200, {}),
    )


@breaks("stranger.revoke", "it is told whether a token exists")
def _(site: Site) -> Fault:
    def when(asked: Asked) -> bool:
        return asked.path == "/revoke" and not asked.form["token"].startswith("p")

    return Answering(when, lambda asked: json_answer(400, {"error": "invalid_token"}))


def asking_nothing(asked: Asked) -> bool:
    return exactly("POST", "/token")(asked) and not asked.form


@breaks("stranger.form", "an error is a page")
def _(site: Site) -> Fault:
    return Answering(asking_nothing, lambda asked: html_answer(400))


@breaks("stranger.form", "a body that is no JSON brings the registration down")
def _(site: Site) -> Fault:
    error = json_answer(500, {"error": "server_error"})
    return Answering(
        lambda asked: asked.path == "/register" and asked.body == b"{", lambda _: error
    )


@breaks("stranger.form", "an error has a null member")
def _(site: Site) -> Fault:
    def change(answer: Answer) -> None:
        answer.json = {**answer.json, "error_uri": None}

    return Changing(asking_nothing, change)
