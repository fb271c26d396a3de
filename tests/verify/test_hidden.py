"""What a server repeats of a secret is hidden, and no other server is trusted without a proof."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from html import escape
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest

from personal_verify.checks import Failed
from personal_verify.known import BROWSER
from personal_verify.visit import Proof, Visit
from tests.support.tls import certificate
from tests.verify.faults.making import Changing, deciding, with_location
from tests.verify.house import PASSWORD, House, Report
from tests.verify.proxy import Proxy
from tests.verify.test_secrets import SECRET

Verify = Callable[..., Report]

ODD = 'a "password" & <more>/é'


@pytest.fixture
def visit() -> Iterator[Visit]:
    visit = Visit("http://localhost:1", Proof(ODD))
    yield visit
    visit.close()


@pytest.mark.parametrize(
    "spelled", [ODD, quote(ODD), quote(ODD, safe=""), quote_plus(ODD), escape(ODD)]
)
def test_a_secret_is_hidden_however_it_is_spelled(visit: Visit, spelled: str) -> None:
    assert visit.hiding(f"no {spelled}!") == "no [secret]!"


def test_a_code_that_is_sent_to_another_place_is_not_shown(
    house: House, verify_here: Verify
) -> None:
    house.proxy.fault = Changing(deciding, with_location("^[^?]*", "https://stranger.example/"))

    report = verify_here(house.url, "--json", "--only", "owner.sign_in", MCP_PASSWORD=PASSWORD)

    failure = report.checks["owner.sign_in"]["detail"]
    assert failure.startswith("Approve leads to https://stranger.example/?code=…")
    assert not SECRET.search(report.out + report.err)


@pytest.mark.parametrize("agent", ["", BROWSER])
def test_a_server_on_this_computer_leads_to_no_other_without_a_good_certificate(
    visit: Visit, tmp_path: Path, agent: str
) -> None:
    untrusted = Proxy(certificate(tmp_path, "localhost"))
    browser = visit.new_client(agent) if agent else None

    with pytest.raises(Failed, match="is signed by itself") as failed:
        visit.send("GET", f"https://localhost:{untrusted.port}/authorize", browser)
    untrusted.stop()

    assert type(failed.value) is Failed, "what is wrong elsewhere does not end the visit"
