"""What a hostile visitor may send, as Hypothesis strategies, and what every answer must be."""

from __future__ import annotations

import json
import logging
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlencode

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from personal_auth.audit import LINES_A_MINUTE
from tests.support.asgi import HOST, Answer, Header

FUZZ = int(os.environ.get("FUZZ", "0"))  # FUZZ=20 hunts 20 times as long, at random

MARKUP = "<hostile a='b' c=\"d\">&"
ODD = [
    *("", " ", "\x00", "\r\n", "a\r\nSet-Cookie: x=y", MARKUP, "é", "\u202e", "🙈" * 50, "\x7f"),
    *("null", "true", "-1", "1e999", "[]", "{}", "%00", "%", "%zz", "../..", "'\";--", "{{7*7}}"),
    *("A" * 5000, "c1.", "c1.AAAA", "c1-", "c1-0-x", "c1-\x00-", ".", "a.b", "=", "&", "9" * 5000),
    *("pat_x", "prt_x", "pac_x", "https://evil.example/cb", "javascript:alert(1)", "code"),
]
METHODS = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT", "PRI"]
METHODS += ["get", "Post", "FOO", "A" * 300]
KNOWN = "/.well-known"
METADATA = [
    f"{KNOWN}/{name}{path}"
    for name in ["oauth-authorization-server", "openid-configuration", "oauth-protected-resource"]
    for path in ["", "/mcp"]
]
PAGES = ["/authorize", "/owner"]
PATHS = [*METADATA, *PAGES, "/register", "/token", "/revoke", "/mcp"]
ELSEWHERE = [
    *("/", "", "*", "//", "/.", "/..", "/%00", "/nothing", "/mcp/x", "//mcp", "/MCP", "/mcp;x"),
    *("/token/x", "/%74oken", "/token%2f", "/authorize%3f", "/ü", "/%ff%fe", "/../mcp", "/a" * 900),
    *(KNOWN, f"{KNOWN}/", f"{KNOWN}/x", f"{KNOWN}//mcp", f"{KNOWN}/jwks.json", f"{KNOWN}/" + "%00"),
    *("http://evil.example/token", "https://mcp.example.com/mcp", "/favicon.ico", "/robots.txt"),
]
HEADERS: dict[bytes, list[bytes]] = {
    b"host": [b"", b"evil.example", b"localhost:1", b"[::1]", b"mcp.example.com:443", b"a:b:c"],
    b"origin": [b"null", b"", b"https://evil.example", b"https://mcp.example.com", b"http://[::1]"],
    b"authorization": [
        b"",
        b"Bearer",
        b"Bearer ",
        b"bearer x",
        b"Basic",
        b"Basic !",
        b"Basic Ojo=",
    ],
    b"cookie": [b"", b"=", b";;;", b"__Host-pa_session=x", b"__Host-pa_browser=x", b"a=b;" * 900],
    b"content-type": [b"", b"text/plain", b"application/json", b"multipart/form-data", b";;;"],
    b"content-length": [b"0", b"-1", b"99999999999999999999", b"x"],
    b"accept": [b"", b"text/html", b"application/json", b"*/*;q=2", b"text/event-stream"],
    b"accept-encoding": [b"gzip", b"br;q=x"],
    b"access-control-request-method": [b"", b"POST", b"\xff"],
    b"access-control-request-headers": [b"authorization", b"a, b", b"\xff", b"a," * 900],
    b"sec-fetch-site": [b"same-origin", b"cross-site", b"\xff"],
    b"x-forwarded-for": [b"", b"1.2.3.4", b"::1, x", b"," * 900, b"\xff"],
    b"x-forwarded-proto": [b"https", b"javascript"],
    b"x-forwarded-host": [b"evil.example"],
    b"forwarded": [b"for=1.2.3.4;host=evil.example"],
    b"mcp-session-id": [b"", b"x", b"\xff"],
    b"mcp-protocol-version": [b"", b"2025-11-25", b"2026-07-28", b"x", b"\xff"],
    b"mcp-method": [b"tools/call", b"\xff"],
    b"last-event-id": [b"1"],
    b"transfer-encoding": [b"chunked", b"x"],
    b"upgrade": [b"websocket", b"h2c"],
    b"connection": [b"upgrade", b"close"],
    b"expect": [b"100-continue"],
    b"range": [b"bytes=0-1"],
    b"if-none-match": [b"*"],
    b"user-agent": [b"", b"Claude-User", b"\xff" * 300],
    b"x-http-method-override": [b"POST"],
}


def fuzz(attack: Callable[..., None], *strategies: st.SearchStrategy[Any], examples: int) -> None:
    """Runs an attack with many drawn arguments: the same ones each time, unless FUZZ is set."""
    chosen = settings(
        max_examples=examples * (FUZZ or 1),
        derandomize=not FUZZ,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    chosen(given(*strategies)(attack))()


def texts(secrets: Sequence[str] = ()) -> st.SearchStrategy[str]:
    """Text that nobody expects; `secrets` are put where they do not belong."""
    pool = st.sampled_from([*ODD, *secrets])
    return st.one_of(pool, pool, st.text(max_size=60), st.text("aZ09-_.~", max_size=300))


def json_values(secrets: Sequence[str] = ()) -> st.SearchStrategy[Any]:
    scalars = st.none() | st.booleans() | st.integers() | st.floats() | texts(secrets)
    scalars |= st.sampled_from(["\ud800", "\udfff\ud800", 10**400, 1e308, -0.0])
    return st.recursive(
        scalars,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts(), inner, max_size=3),
        max_leaves=8,
    )


@st.composite
def changed(
    draw: st.DrawFn, base: Mapping[str, Any], values: st.SearchStrategy[Any], most: int = 3
) -> list[tuple[str, Any]]:
    """A valid set of members with some replaced, left out, repeated or added."""
    pairs = list(base.items())
    for _ in range(draw(st.integers(0, most))):
        where = draw(st.integers(0, max(len(pairs) - 1, 0)))
        match draw(st.sampled_from(["replace", "replace", "drop", "repeat", "add"])):
            case "replace" if pairs:
                pairs[where] = (pairs[where][0], draw(values))
            case "drop" if pairs:
                del pairs[where]
            case "repeat" if pairs:
                pairs.append((pairs[where][0], draw(values)))
            case _:
                pairs.append((draw(texts()), draw(values)))
    return pairs


@st.composite
def broken(draw: st.DrawFn, whole: st.SearchStrategy[bytes]) -> bytes:
    """Bytes that are mostly as they should be, sometimes cut, spoilt or in another encoding."""
    raw = draw(whole)
    match draw(st.sampled_from(["whole", "whole", "whole", "cut", "spoil", "again", "other"])):
        case "cut":
            return raw[: draw(st.integers(0, len(raw)))]
        case "spoil":
            at = draw(st.integers(0, len(raw)))
            return raw[:at] + draw(st.binary(min_size=1, max_size=8)) + raw[at:]
        case "again":
            return raw * draw(st.integers(2, 40))
        case "other":
            return draw(
                st.sampled_from(
                    [raw.decode("utf-8", "replace").encode("utf-16"), b"\xef\xbb\xbf" + raw]
                )
            )
    return raw


def json_bodies(base: Mapping[str, Any], secrets: Sequence[str] = ()) -> st.SearchStrategy[bytes]:
    """A JSON object with hostile members, keys given twice included, or something quite else."""

    def encoded(pairs: list[tuple[str, Any]]) -> bytes:
        members = ",".join(f"{json.dumps(key)}:{json.dumps(value)}" for key, value in pairs)
        return f"{{{members}}}".encode()

    objects = changed(base, json_values(secrets)).map(encoded)
    others = json_values(secrets).map(lambda value: json.dumps(value).encode())
    deep = st.sampled_from([b"[" * 16_000, b'{"a":' * 3_000, b"[" * 8_000 + b"]" * 8_000])
    return st.one_of(broken(objects), broken(objects), broken(objects), others, deep)


def forms(
    base: Mapping[str, str], secrets: Sequence[str] = (), *, most: int = 3
) -> st.SearchStrategy[bytes]:
    """A form or query with hostile members, some not in UTF-8."""

    def encoded(pairs: list[tuple[str, str]]) -> bytes:
        raw = [tuple(text.encode("utf-8", "surrogateescape") for text in pair) for pair in pairs]
        return urlencode(raw).encode()

    values = texts(secrets) | st.sampled_from(["\udcff", "\udced\udca0\udc80", "a\udcc3("])
    return broken(changed(base, values, most).map(encoded))


@st.composite
def header_lists(draw: st.DrawFn, *base: Header, secrets: Sequence[str] = ()) -> list[Header]:
    """Headers as a server passes them on: names in lower case, values without line ends."""
    headers = [(b"host", HOST), *base]
    raw = st.binary(max_size=60).map(lambda value: value.translate(None, b"\r\n\x00"))
    for _ in range(draw(st.integers(0, 3))):
        name = draw(st.sampled_from(sorted(HEADERS)))
        carried = st.sampled_from([s.encode() for s in secrets] or [b"x"])
        value = draw(st.one_of(st.sampled_from(HEADERS[name]), raw, carried))
        if draw(st.booleans()):
            headers = [header for header in headers if header[0] != name]
        headers.append((name, value))
    return headers


class Log(logging.Handler):
    """Everything that any logger said."""

    NAMES = ("", "uvicorn", "uvicorn.error", "asyncio", "fastmcp", "mcp", "personal_auth")

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record not in self.records[-9:]:  # loggers hand records on to each other
            self.records.append(record)

    @property
    def lines(self) -> list[str]:
        return [f"{record.name}: {record.getMessage()}" for record in self.records]

    def of(self, event: str) -> int:
        """Returns how many lines an event of personal_auth has."""
        return sum(f"[{event}]" in line for line in self.lines)

    def check(self) -> None:
        """No error, no traceback, and no more lines than strangers may cause in that time."""
        kinds = Counter(line.partition("]")[0] for line in self.lines)
        times = [record.created for record in self.records] or [0.0]
        minutes = (max(times) - min(times)) // 60 + 2
        assert not kinds or max(kinds.values()) <= minutes * LINES_A_MINUTE, kinds
        bad = [r for r in self.records if r.exc_info or r.levelno >= logging.ERROR]
        assert not bad, [logging.Formatter().format(record) for record in bad]


@contextmanager
def listening() -> Iterator[Log]:
    """Hears what a rendered server would log."""
    log = Log()
    loggers = [logging.getLogger(name) for name in Log.NAMES]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel("INFO" if logger.name == "personal_auth" else "WARNING")
        logger.addHandler(log)
    try:
        yield log
    finally:
        for logger, before in zip(loggers, levels, strict=True):
            logger.setLevel(before)
            logger.removeHandler(log)


def check(answer: Answer, path: str, secrets: Sequence[str] = (), *, echoed: bool = False) -> None:
    """An answer is well-formed, of its promised type, and gives nothing away.

    With `echoed` it may repeat, escaped, what was asked.
    """
    assert 200 <= answer.status < 500, answer
    assert b"Traceback" not in answer.body
    assert not [h for h in answer.headers if any(c in h[0] + h[1] for c in b"\r\n\x00")], answer
    assert not [secret for secret in secrets if secret.encode() in answer.everything], answer
    if answer.status in {204, 303}:
        assert answer.body == b""
    elif path.rstrip("/") in PAGES and answer.kind == "text/html":
        _check_page(answer)
    else:
        _check_document(answer, echoed=echoed)
    if answer.status == 405:
        assert answer.header("allow")


def _check_page(answer: Answer) -> None:
    page = answer.body.decode()
    assert page.startswith("<!doctype html>")
    assert page.rstrip().endswith("</html>")
    assert "<hostile" not in page
    assert answer.header("cache-control") == "no-store"
    assert not answer.header("access-control-allow-origin")


def _check_document(answer: Answer, *, echoed: bool) -> None:
    assert answer.kind == "application/json", answer
    document = json.loads(answer.body.decode(), parse_constant=_refuse, parse_float=_refuse)
    assert isinstance(document, dict)
    assert None not in document.values()
    if answer.status >= 400:
        assert set(document) == {"error", "error_description"}, answer
        assert all(value.isascii() and value.isprintable() for value in document.values())
    assert echoed or b"hostile" not in answer.everything


def _refuse(constant: str) -> None:
    raise AssertionError(f"{constant} in an answer")
