"""Does a connection survive a restart of the server?"""

from __future__ import annotations

from personal_verify.answers import Page, sent_back, shape
from personal_verify.checks import KEEP, check, expect
from personal_verify.restart import restart
from personal_verify.signin import app_to_approve, ask, registered
from personal_verify.tokens import token_answer
from personal_verify.visit import Visit

OPTION = "--restart"


@check("state.restart", "It comes back after a restart", option=OPTION, after=("owner.token",))
def _(visit: Visit) -> str:
    visit.waiting_app = registered(visit, app_to_approve(visit).callback)
    with visit.patience.resting():
        away = restart(visit, visit.restart)
    visit.session = ""  # no server has to remember one
    return f"away for {away:.1f} s"


@check("state.client", "Its apps are still known", "state.restart", option=OPTION)
def _(visit: Visit) -> str:
    assert visit.waiting_app is not None, "state.restart has passed"
    apps = {"An app": visit.waiting_app}
    if visit.connection:
        apps["The app that the owner approved"] = visit.connection[0].app
    for what, response in visit.each(apps, lambda what: ask(visit, apps[what].question())):
        expect(
            Page(response).forms or sent_back(response).get("code") or response.is_redirect,
            f"{what} from before the restart is not known any more ({shape(response)}).",
            KEEP,
        )
    return " and ".join(what.lower() for what in apps)


@check("state.token", "A connection is still open", "state.restart", "owner.token", option=OPTION)
def _(visit: Visit) -> str:
    opens = visit.opens(visit.connection[-1].access)
    visit.lost = visit.lost or not opens
    expect(opens, "An access token from before the restart opens nothing.", KEEP)
    return "an access token from before"


@check(
    "state.refresh", "A connection still renews itself", *("state.restart", "owner.token"),
    option=OPTION,
)  # fmt: skip
def _(visit: Visit) -> str:
    response = visit.refresh(visit.connection[-1])
    visit.lost = visit.lost or not response.is_success
    expect(
        response.is_success,
        f"A refresh token from before the restart is answered with {shape(response)}.",
        KEEP,
    )
    token_answer(response)
    visit.connection.append(visit.granted[-1])
    expect(visit.opens(visit.granted[-1].access), "The token that it gives opens nothing.", KEEP)
    return "a refresh token from before"
