"""The word to the owner: what is told, what never is, and that nobody waits for the webhook."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from personal_auth import audit
from personal_auth.audit import Event
from personal_server.news import WORDS_AN_HOUR, WRONG_PASSWORDS, News
from personal_server.notify import WAITING_WORDS, Notifier
from personal_server.webhook import NotTaken, Webhook, Word
from tests.auth.test_audit import everything
from tests.support import forks
from tests.support import site as sites
from tests.support.owner import connect
from tests.support.process import Running, command, environment
from tests.support.programs import free_port
from tests.support.site import PASSWORD, App, Clock, Site, ticket
from tests.support.webhook import PATH, SECONDS, Hook, hooked

Run = Callable[..., Running]
PAGE = "https://mcp.example.com/owner"
WORD = Word("a title", "a text", "a-tag")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def hook() -> Iterator[Hook]:
    with hooked() as hook:
        yield hook


@pytest.fixture
def site(tmp_path: Path, clock: Clock) -> Iterator[Site]:
    site = Site(tmp_path / "state", clock)
    yield site
    site.stop()


@contextmanager
def telling(url: str, clock: Clock, seconds: float = SECONDS) -> Iterator[None]:
    """Tells a webhook what is new, with a second attempt at once."""
    notifier = Notifier(Webhook(url, PAGE, seconds), News("my-server", PAGE, clock), pause=0)
    notifier.start()
    try:
        yield
    finally:
        notifier.stop()


@pytest.fixture
def told(hook: Hook, clock: Clock) -> Iterator[Hook]:
    with telling(hook.url, clock):
        yield hook


def wait_for(log: pytest.LogCaptureFixture, words: str) -> None:
    deadline = time.monotonic() + SECONDS
    while words not in log.text:
        assert time.monotonic() < deadline, log.text
        time.sleep(0.01)


def test_a_new_connection_is_told_once_with_what_to_do(run: Run, hook: Hook) -> None:
    server = run(MCP_NOTIFY_URL=hook.url)
    connect(server.url, server.password, name="Claude")

    post = hook.next()

    (connection,) = ids(server)
    assert post.path == PATH
    assert post.body == (
        'An app that calls itself "Claude" is now connected to my-server from 127.0.0.1; its'
        f" sign-in returned to 127.0.0.1. If that was not you, end it at {server.url}/owner or by:"
        f" my-server connections revoke {connection}"
    )
    sent = {name: post.headers[name] for name in ("Title", "Priority", "Tags", "Click")}
    assert sent == {
        "Title": "my-server: new connection",
        "Priority": "3",
        "Tags": "link",
        "Click": f"{server.url}/owner",
    }
    assert post.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert server.stop() == 0
    assert hook.posts.empty()


def ids(server: Running) -> list[str]:
    listed = command(server.project, "connections", "--json").stdout
    return [row["id"] for row in json.loads(listed)]


def test_each_event_that_is_news_is_one_word_without_any_secret(
    site: Site, clock: Clock, told: Hook
) -> None:
    secrets = everything(site, site.visitor(), clock)

    posts = [told.next() for _ in range(5)]
    audit.record(Event.TOKEN_CREATED, grant="0123456789abcdef", client="backup")
    posts.append(told.next())

    assert [post.headers["Title"].removeprefix("my-server: ") for post in posts] == [
        "new connection",
        "a connection was ended",
        "new connection",
        "new connection",
        "a connection was ended",
        "new token",
    ]
    assert posts[1].body.startswith(
        'An old refresh token of the app that calls itself "Test_app" was used a second time from'
    )
    assert posts[4].body.startswith('A code of the app that calls itself "Test_app" was used')
    assert {post.headers["Priority"] for post in posts} == {"3", "5"}
    received = b"".join(post.raw for post in posts).decode()
    assert not [
        name for name, secret in {**secrets, "password": PASSWORD}.items() if secret in received
    ]


@pytest.mark.parametrize(
    ("event", "title", "priority"),
    [
        (Event.PASSKEY_ADDED, "my-server: new passkey", "4"),
        (Event.PASSKEY_CLONED, "my-server: a passkey was copied", "5"),
    ],
)
def test_a_new_passkey_and_a_copied_one_are_told_with_how_to_remove_it(
    told: Hook, event: Event, title: str, priority: str
) -> None:
    audit.record(event, passkey="0123456789abcdef", name="My phone", address="203.0.113.5")

    post = told.next()

    assert (post.headers["Title"], post.headers["Priority"]) == (title, priority)
    assert 'passkey named "My_phone"' in post.body
    assert "from 203.0.113.5" in post.body
    assert post.body.endswith(f"at {PAGE} or by: my-server passkeys remove 0123456789abcdef")


def test_many_wrong_passwords_are_told_with_their_number_and_the_address(
    site: Site, told: Hook
) -> None:
    owner = site.visitor()
    page = ticket(owner.get("/authorize", params=App.register(site).query()))

    for _ in range(WRONG_PASSWORDS):
        owner.submit(ticket=page, password="not the password", decision="approve")
    post = told.next()

    assert post.headers["Title"] == "my-server: wrong passwords"
    assert post.body.startswith(
        "5 wrong passwords were tried at my-server, the last from 127.0.0.1. Whoever guesses"
    )
    assert "not the password" not in post.raw.decode()


def test_a_few_wrong_passwords_are_no_news_and_a_burst_is_told_once_an_hour(clock: Clock) -> None:
    news = News("my-server", PAGE, clock)

    def wrong(times: int, each: float) -> list[str]:
        found = []
        for _ in range(times):
            clock.advance(each)
            word = news.of(Event.WRONG_PASSWORD, {"address": "203.0.113.5"})
            found += [word.text.partition(" ")[0]] if word else []
        return found

    assert wrong(WRONG_PASSWORDS - 1, 1) == []
    clock.advance(601)
    assert wrong(WRONG_PASSWORDS - 1, 1) == []  # the first four are forgotten
    assert wrong(1, 1) == ["5"]
    assert wrong(50, 60) == []  # within the hour
    assert wrong(30, 60) == ["60"]  # the ten last minutes of it, and all before
    clock.advance(24 * 3600)
    assert wrong(20, 151) == []  # never five within ten minutes


def test_beyond_a_number_an_hour_nothing_is_told_and_the_last_word_says_so(clock: Clock) -> None:
    news = News("my-server", PAGE, clock)

    def tell() -> str:
        word = news.of(Event.ISSUED, {"client": "Claude", "grant": "1", "to": "claude.ai"})
        return word.text if word else ""

    first_hour = [tell() for _ in range(2 * WORDS_AN_HOUR)]
    clock.advance(3600)
    after = tell()

    assert [bool(text) for text in first_hour] == [True] * WORDS_AN_HOUR + [False] * WORDS_AN_HOUR
    assert ["last word" in text for text in first_hour].index(True) == WORDS_AN_HOUR - 1
    assert "last word" not in after
    assert after


def test_other_events_are_no_news(clock: Clock) -> None:
    news = News("my-server", PAGE, clock)
    told = {
        *(Event.ISSUED, Event.TOKEN_CREATED, Event.REPLAYED_CODE, Event.REPLAYED_REFRESH),
        *(Event.WRONG_PASSWORD, Event.PASSKEY_ADDED, Event.PASSKEY_CLONED),
    }

    assert [event for event in Event if event not in told and news.of(event, {})] == []


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Evil\r\nPriority: 5\r\nX: y", '"Evil_Priority:_5_X:_y"'),
        ("🎉 Claude", '"🎉_Claude"'),
        ('" is now connected', '"__is_now_connected"'),
        ("<b>[here](https://evil.example)</b>", '"_b__here__https:__evil.example___b_"'),
        ("\u202etxt.exe", '"txt.exe"'),
        ("x" * 99, f'"{"x" * 60}"'),
    ],
    ids=["lines", "emoji", "quotes", "markup", "bidi", "long"],
)
def test_the_name_of_an_app_is_quoted_in_the_text_and_in_no_header(
    site: Site, told: Hook, name: str, shown: str
) -> None:
    sites.connect(site, client_name=name)

    post = told.next()

    assert f"calls itself {shown} is now connected" in post.body
    assert set(post.headers) == {
        *("Host", "Accept", "Accept-Encoding", "Connection", "User-Agent", "Content-Type"),
        *("Content-Length", "Title", "Priority", "Tags", "Click"),
    }
    assert post.headers["Priority"] == "3"
    assert "vil" not in "".join(post.headers.values())


def test_userinfo_is_sent_as_basic_and_an_empty_name_as_ntfy_takes_tokens(hook: Hook) -> None:
    for userinfo in ("owner:pa%40ss", ":tk_token"):
        Webhook(f"http://{userinfo}@{hook.host}{PATH}", PAGE).post(WORD)

    assert [hook.next().headers["Authorization"] for _ in range(2)] == [
        "Basic b3duZXI6cGFAc3M=",
        "Basic OnRrX3Rva2Vu",
    ]


def test_nobody_waits_for_a_webhook_that_does_not_answer(
    site: Site, clock: Clock, hook: Hook
) -> None:
    hook.open.clear()

    with telling(hook.url, clock, seconds=10 * SECONDS):
        app, tokens = sites.connect(site)
        first = hook.next()
        answers = [
            site.visitor().call(tokens["access_token"]),
            app.refresh(tokens["refresh_token"]),
        ]
        sites.connect(site)

    assert "new connection" in first.headers["Title"]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert hook.came == 1  # the second word waits


def test_a_server_stops_while_the_webhook_does_not_answer(run: Run, hook: Hook) -> None:
    hook.open.clear()
    server = run(MCP_NOTIFY_URL=hook.url)
    connect(server.url, server.password)
    hook.next()

    assert server.stop() == 0
    assert "Traceback" not in server.log
    assert not hook.open.is_set()


def test_no_thread_keeps_a_process_that_has_ended_its_work(rendered: Path, hook: Hook) -> None:
    hook.open.clear()
    program = f"""
import time
from personal_auth import audit
from personal_server.news import News
from personal_server.notify import Notifier
from personal_server.webhook import Webhook

notifier = Notifier(Webhook({hook.url!r}, {PAGE!r}, 600), News("my-server", {PAGE!r}, time.time))
notifier.start()
audit.record(audit.Event.TOKEN_CREATED, client="one")
input()
notifier.stop()
"""
    arguments, place = [sys.executable, "-c", program], environment(rendered)
    with forks.Popen(arguments, env=place, stdin=subprocess.PIPE) as process:
        try:
            hook.next()
            process.communicate(b"\n", timeout=SECONDS)
        finally:
            process.kill()

    assert process.returncode == 0


def test_what_does_not_fit_is_dropped_and_later_words_arrive(hook: Hook, clock: Clock) -> None:
    hook.open.clear()

    with telling(hook.url, clock):
        audit.record(Event.TOKEN_CREATED, client="first")
        hook.next()
        for number in range(WAITING_WORDS + 5):
            audit.record(Event.TOKEN_CREATED, client=f"number{number}")
        hook.open.set()
        waited = [hook.next().body for _ in range(WAITING_WORDS)]
        audit.record(Event.TOKEN_CREATED, client="last")
        last = hook.next().body

    assert [f'"number{number}"' in text for number, text in enumerate(waited)] == [True] * 20
    assert '"last"' in last


@pytest.mark.parametrize("status", [500, 503, 429])
def test_a_webhook_that_fails_is_asked_once_more_and_logged_once_until_it_is_back(
    hook: Hook, clock: Clock, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    caplog.set_level(logging.INFO, "personal_server")
    hook.status = status

    with telling(hook.url, clock):
        for name in ("one", "two"):
            audit.record(Event.TOKEN_CREATED, client=name)
        bodies = [hook.next().body for _ in range(4)]
        hook.status = 200
        audit.record(Event.TOKEN_CREATED, client="three")
        hook.next()
        wait_for(caplog, "told again")

    ours = [record for record in caplog.records if record.name == "personal_server"]
    assert bodies[0] == bodies[1] != bodies[2] == bodies[3]
    assert [record.levelname for record in ours] == ["WARNING", "INFO"]
    assert f"did not reach {hook.host}, it answered {status} " in ours[0].getMessage()
    assert ours[0].event == {"event": "webhook_failed", "host": hook.host}  # type: ignore[attr-defined]
    assert PATH not in caplog.text


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed(hook: Hook, status: int) -> None:
    with hooked(status=status, location=f"{hook.url}/SECRET") as leads:
        with pytest.raises(NotTaken, match=f"it answered {status}, a redirect") as refused:
            Webhook(leads.url, PAGE).post(WORD)

        assert leads.came == 1
    assert hook.came == 0
    assert not refused.value.passing
    assert "SECRET" not in str(refused.value)


def test_an_answer_without_an_end_is_not_read(told: Hook) -> None:
    told.huge = True

    for name in ("one", "two"):
        audit.record(Event.TOKEN_CREATED, client=name)

    assert ['"one"' in told.next().body, '"two"' in told.next().body] == [True, True]


def test_a_word_that_is_refused_is_not_sent_again(told: Hook) -> None:
    told.status = 404

    for name in ("one", "two"):
        audit.record(Event.TOKEN_CREATED, client=name)

    assert ['"one"' in told.next().body, '"two"' in told.next().body] == [True, True]


@pytest.mark.parametrize("how", ["silent", "drips"])
def test_a_webhook_without_an_answer_is_given_up(hook: Hook, how: str) -> None:
    hook.drips = how == "drips"
    if how == "silent":
        hook.open.clear()

    with pytest.raises(NotTaken, match=r"it did not answer within 0\.1 seconds") as refused:
        Webhook(hook.url, PAGE, seconds=0.1).post(WORD)

    assert refused.value.passing


def test_the_log_of_a_server_whose_webhook_refuses_has_its_host_and_nothing_secret(
    run: Run, project: Path, hook: Hook
) -> None:
    hook.status = 404
    (project / "src" / "my_server" / "extend.py").write_text(
        "import logging\n\n\ndef extend(server):\n    logging.getLogger().setLevel(logging.DEBUG)\n"
    )
    url = f"http://user:SECRET@{hook.host}{PATH}?auth=SECRET"
    server = run(MCP_NOTIFY_URL=url, MCP_LOG_FORMAT="json", MCP_PASSWORD=PASSWORD)

    connection = connect(server.url, PASSWORD)
    wait_for_log(server, "webhook_failed")
    connect(server.url, PASSWORD)
    hook.next(), hook.next()

    assert connection.refresh().status_code == 200
    assert server.stop() == 0
    assert server.log.count("webhook_failed") == 1
    assert f"did not reach {hook.host}, it answered 404 Not Found." in server.log
    assert "SECRET" not in server.log
    assert PATH not in server.log


def wait_for_log(server: Running, words: str) -> None:
    deadline = time.monotonic() + SECONDS
    while words not in server.log:
        assert time.monotonic() < deadline, server.log
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("how", "code", "says"),
    [
        ({}, 0, "{host} answered 200: the trial word is on its way to you.\n"),
        ({"status": 204}, 0, "{host} answered 204: the trial word is on its way to you.\n"),
        ({"huge": True}, 0, "{host} answered 200: the trial word is on its way to you.\n"),
        ({"status": 403}, 1, "did not reach {host}: it answered 403 Forbidden.\n"),
        ({"status": 500}, 1, "did not reach {host}: it answered 500 Internal Server Error.\n"),
        (
            {"status": 302},
            1,
            "a redirect, which is not followed: set the address where it leads.\n",
        ),
        ({"status": 799}, 1, "did not reach {host}: it answered 799.\n"),
    ],
    ids=str,
)
def test_a_trial_word_says_what_came_back(
    rendered: Path, how: dict[str, Any], code: int, says: str
) -> None:
    with hooked(**how) as hook:
        done = command(rendered, "notify", MCP_NOTIFY_URL=hook.url)

        assert done.returncode == code
        assert (done.stdout + done.stderr).endswith(says.format(host=hook.host))
        assert hook.next().headers["Title"] == "my-server: trial"
        assert hook.posts.empty()
        assert PATH not in done.stdout + done.stderr


def test_a_trial_word_to_where_nobody_listens_says_so(rendered: Path) -> None:
    place = f"127.0.0.1:{free_port()}"

    done = command(rendered, "notify", MCP_NOTIFY_URL=f"http://{place}/")

    assert done.returncode == 1
    assert done.stderr == f"The trial word did not reach {place}: it cannot be reached.\n"


def test_without_the_setting_a_trial_word_says_how_to_set_it(rendered: Path) -> None:
    done = command(rendered, "notify")

    assert done.returncode == 2
    assert done.stderr.startswith("MCP_NOTIFY_URL is not set")
    assert done.stderr.count("\n") == 1


def test_doctor_says_who_is_told(rendered: Path) -> None:
    unset = command(rendered, "doctor").stdout
    given = command(rendered, "doctor", MCP_NOTIFY_URL="https://:SECRET@ntfy.sh/TOPIC").stdout
    wrong = command(rendered, "doctor", MCP_NOTIFY_URL="http://ntfy.sh/TOPIC").stdout

    assert "ok: nobody is told of what is new; MCP_NOTIFY_URL names a webhook" in unset
    assert "ok: what is new is told to ntfy.sh; `notify` sends a trial word\n" in given
    assert "    MCP_NOTIFY_URL is refused: it must begin with https" in wrong
    assert "SECRET" not in given
    assert "TOPIC" not in given + wrong
