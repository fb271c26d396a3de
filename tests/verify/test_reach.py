"""A server that is broken in one way fails the check for it: it cannot be reached."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from personal_verify.checks import every_check
from tests.support.tls import Authority
from tests.verify.faults import faults_of
from tests.verify.faults.making import Broken, Site
from tests.verify.house import PASSWORD, House, Report, assert_only_fails, housed
from tests.verify.internet import HOST, IPV4, URL, Below, Internet
from tests.verify.proxy import Answer, Asked, Fault, Proxy

Verify = Callable[..., Report]

SITE = Site(URL, PASSWORD)
HTTP = [broken for broken in faults_of("reach") if not isinstance(broken.make(SITE), Below)]
BELOW = [broken for broken in faults_of("reach") if broken not in HTTP]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def whole_public_house(rendered: Path, authority: Authority) -> Iterator[House]:
    """A server that is known as https://mcp.example.com."""
    proxy = Proxy(authority.issue(HOST))
    proxy.url = URL
    with housed(rendered, proxy) as house:
        yield house


@pytest.fixture
def public_house(whole_public_house: House) -> House:
    whole_public_house.proxy.fault = Fault()
    return whole_public_house


@pytest.fixture
def internet(
    public_house: House, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Internet]:
    plain, behind = Proxy(), public_house.server.port
    plain.port_behind = behind
    internet = Internet(authority, public_house.proxy.port, plain, behind)
    internet.install(monkeypatch)
    internet.closing.callback(plain.stop)
    with internet.closing:
        yield internet


@pytest.mark.parametrize("broken", HTTP, ids=lambda broken: broken.sentence)
def test_only_its_check_fails_when(broken: Broken, house: House, verify_here: Verify) -> None:
    assert_only_fails(broken, house, verify_here)


@pytest.mark.parametrize("broken", BELOW, ids=lambda broken: broken.sentence)
def test_only_its_check_fails_on_the_internet_when(
    broken: Broken, public_house: House, internet: Internet, verify_here: Verify
) -> None:
    fault = broken.make(SITE)
    assert isinstance(fault, Below)
    fault.change(internet)

    assert_only_fails(broken, public_house, verify_here, url=fault.url)


def test_a_healthy_server_on_the_internet_passes_everything(
    public_house: House, internet: Internet, verify_here: Verify, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("personal_verify.metadata.fetches_documents", lambda url: False)

    report = verify_here(URL, "--json", MCP_PASSWORD=PASSWORD)

    assert report.with_status("pass") == [c.id for c in every_check() if not c.option], report.out
    assert report.checks["reach.name"]["detail"] == IPV4


class OnTheWay(Fault):
    """Sees all that is not protected, and lets the documents say what it likes."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []

    def before(self, asked: Asked) -> Answer | None:
        self.asked.append(asked)
        asked.headers["host"] = HOST
        return None

    def after(self, asked: Asked, answer: Answer) -> None:
        answer.body = answer.body.replace(b"https://mcp", b"http://mcp")


@pytest.mark.parametrize("only", [[], ["--only", "owner.sign_in"], ["--only", "protocol.tools"]])
def test_the_password_is_not_sent_without_tls(
    public_house: House, internet: Internet, verify_here: Verify, only: list[str]
) -> None:
    eye = OnTheWay()
    internet.plain.fault = eye
    internet.ports[IPV4] = internet.plain_port

    report = verify_here(f"http://{HOST}", "--json", *only, MCP_PASSWORD=PASSWORD)

    assert any(asked.path == "/authorize" for asked in eye.asked) or only
    assert [asked.path for asked in eye.asked if PASSWORD in asked.form.values()] == []
    last = only[-1] if only else "owner.sign_in"
    assert report.checks[last]["status"] == "skip"
    assert report.checks[last]["detail"].startswith("needs reach.https")


def test_nobody_is_sent_to_sign_in_without_tls(
    public_house: House, internet: Internet, verify_here: Verify, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("personal_verify.approval.send_to", pytest.fail)
    internet.plain.fault = OnTheWay()
    internet.ports[IPV4] = internet.plain_port

    report = verify_here(f"http://{HOST}", "--json", "--browser", "--only", "owner.sign_in")

    assert report.checks["owner.sign_in"]["detail"].startswith("needs reach.https")
