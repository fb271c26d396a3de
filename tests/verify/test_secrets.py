"""verify.py shows no secret to anybody, and tells none to anybody but the server."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import pytest

from tests.verify.house import PASSWORD, House, Report
from tests.verify.proxy import Answer, Asked, Fault, json_answer

Verify = Callable[..., Report]

SECRET = re.compile(r"\b(?:pac|pat|prt)_[\w-]{20,}")


class Listening(Fault):
    """Keeps what is asked, and the secrets that are answered."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.secrets: set[str] = {PASSWORD}

    def before(self, asked: Asked) -> Answer | None:
        self.asked.append(asked)
        return None

    def after(self, asked: Asked, answer: Answer) -> None:
        told = answer.body.decode("latin-1") + answer.headers.get("location", "")
        self.secrets |= set(SECRET.findall(told))


class Repeating(Listening):
    """Repeats every secret that it is sent, in errors where a report would show them."""

    def before(self, asked: Asked) -> Answer | None:
        super().before(asked)
        if asked.path == "/mcp" and "authorization" in asked.headers:
            told = {"error": f"what is {asked.headers['authorization']}? {'x' * 330}"}
            return json_answer(418, told)
        return None


def test_a_secret_is_sent_only_where_it_belongs(house: House, verify_here: Verify) -> None:
    listening = house.proxy.fault = Listening()

    report = verify_here(house.url, "--json", MCP_PASSWORD=PASSWORD)

    assert report.code == 0
    assert len(listening.secrets) > 4, "a code, and tokens"
    assert [
        a for a in listening.asked if any(s in json.dumps(a.query) for s in listening.secrets)
    ] == []
    signing_in = [a for a in listening.asked if PASSWORD in a.form.values()]
    assert {(a.method, a.path) for a in signing_in} == {("POST", "/authorize"), ("POST", "/owner")}
    for asked in listening.asked:
        headers = {k: v for k, v in asked.headers.items() if k != "authorization"}
        assert not SECRET.search(json.dumps(headers))


@pytest.mark.parametrize("fault", [Listening, Repeating])
@pytest.mark.parametrize("form", [[], ["--json"]], ids=["table", "json"])
def test_no_secret_is_shown(
    house: House, verify_here: Verify, fault: type[Listening], form: list[str]
) -> None:
    listening = house.proxy.fault = fault()

    report = verify_here(house.url, *form, MCP_PASSWORD=PASSWORD)

    shown = re.sub(r"\s+", "", report.out + report.err)
    assert [secret for secret in listening.secrets if re.sub(r"\s+", "", secret) in shown] == []
    assert not SECRET.search(shown)
    assert ("[secret]" in shown) == (fault is Repeating)
