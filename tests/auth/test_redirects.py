"""Where a code may be sent: one table, and what holds for every string.

How a real browser reads what passes is in tests/browser/test_url_parser.py.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Collection
from typing import Any
from urllib.parse import parse_qsl

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from personal_auth.errors import InvalidRedirectUri, RedirectNotAllowed
from personal_auth.redirects import check, read
from tests.support.site import URL, App, Site, answer_of, approve
from tests.support.site import ticket as ticket_of
from tests.support.uris import ALLOWED, CLAUDE, CURSOR, LOCAL, mutated, taken_apart

UNREADABLE = "two ways"
NOT_ABSOLUTE = "absolute"
NO_USER = "user information"
MALFORMED = "host or port is malformed"
BAD_PORT = "port is malformed"
NO_443 = "leave out the port 443"
NO_HTTP = "begin with https"
NO_NAME = "plain DNS name"
NO_DOTS = r"\. or \.\."
NO_ANSWER = "carry an answer"
NOT_REGISTERED = "not one that this client registered"
NOT_ALLOWED = "not on this server's list"


def row(*values: Any) -> Any:
    return pytest.param(*values, id=f"{values[-1]}: {values[0]!a}"[:90])


def passes(uri: str, why: str, registered: str | None = None) -> Any:
    """The client registered `registered`, or else exactly what it asks for."""
    return row(uri, registered or uri, ALLOWED, why)


def refused(uri: str, because: str, why: str, registered: str | None = None) -> Any:
    """The client registered `registered`, or else exactly what it asks for: an attacker's can."""
    return row(uri, registered or uri, ALLOWED, because, why)


# ALLOWED is claude.ai, claude.com, localhost, own.example:8443, cursor://anysphere.cursor-mcp,
# app://own.example:99 and xn--mnchen-3ya.example.
PASSING = [
    passes(CLAUDE, "the real one"),
    passes("https://claude.com/api/mcp/auth_callback", "its twin"),
    passes("https://claude.ai", "no path"),
    passes("https://claude.ai?x=1", "a query without a path"),
    passes("https://claude.ai/", "the root"),
    passes("https://claude.ai/cb?fixed=1&b=%20x", "a query as it was registered"),
    passes("https://claude.ai/cb?", "an empty query"),
    passes("https://claude.ai/cb?to=https://evil.example/", "a URL in a query is only text"),
    passes("https://claude.ai/cb?x=1?y=/../z", "dots in a query are only text"),
    passes("https://claude.ai/cb?codes=1&xstate=2", "names that only look like an answer's"),
    passes("https://claude.ai//cb", "a double slash stays one in every browser"),
    passes("https://claude.ai/cb;v=1/x", "a semicolon in a path means nothing"),
    passes("https://claude.ai/..;/cb", "two dots and more are a name"),
    passes("https://claude.ai/.../cb", "three dots are a name"),
    passes("https://claude.ai/.well-known/cb", "a leading dot is a name"),
    passes("https://claude.ai/a%2Fb", "an encoded slash stays encoded"),
    passes("https://claude.ai/a%5Cb%09%00", "what stays encoded on the way cannot hurt us"),
    passes("https://claude.ai/cb:443@x", "a colon and an at sign in a path"),
    passes("https://claude.ai/[x]", "brackets in a path"),
    passes("https://claude.ai/" + "a" * 1000, "long, as far as registration lets it be"),
    passes("https://own.example:8443/cb", "a port that the owner listed"),
    passes("https://xn--mnchen-3ya.example/cb", "punycode that the owner listed"),
    passes(CURSOR, "a custom scheme that the owner listed"),
    passes("cursor://anysphere.cursor-mcp", "a custom scheme without a path"),
    passes("app://own.example:99/cb", "a custom scheme with its port"),
    passes("https://localhost/cb", "https on a listed host, loopback or not"),
    passes(LOCAL, "loopback"),
    passes("http://localhost/callback", "loopback, another port: none", LOCAL),
    passes("http://localhost:1/callback", "loopback, another port: the first", LOCAL),
    passes("http://localhost:80/callback", "loopback, another port: the default", LOCAL),
    passes("http://localhost:443/callback", "loopback, another port: that of https", LOCAL),
    passes("http://localhost:65535/callback", "loopback, another port: the last", LOCAL),
    passes(LOCAL, "loopback, registered without a port", "http://localhost/callback"),
    passes("http://localhost:9", "loopback without a path", "http://localhost:8"),
    passes("http://127.0.0.1:3000/", "loopback by its IPv4 address", "http://127.0.0.1/"),
    passes("http://[::1]:3000/cb", "loopback by its IPv6 address", "http://[::1]:1/cb"),
    passes("http://localhost:3/cb?x=1", "loopback with its query", "http://localhost:4/cb?x=1"),
    passes("http://localhost/x:8080/", "a port in a path is a path", "http://localhost:1/x:8080/"),
]

REFUSED = [
    refused("", UNREADABLE, "empty"),
    refused("/relative", NOT_ABSOLUTE, "no scheme and no host"),
    refused("//claude.ai/cb", NOT_ABSOLUTE, "no scheme"),
    refused("claude.ai/cb", NOT_ABSOLUTE, "a host alone"),
    refused("https", NOT_ABSOLUTE, "a scheme alone"),
    refused("https:claude.ai/cb", NOT_ABSOLUTE, "browsers add both slashes"),
    refused("https:/claude.ai/cb", NOT_ABSOLUTE, "browsers add a slash"),
    refused("https:///claude.ai/cb", NO_NAME, "browsers drop a slash"),
    refused("https://", NO_NAME, "no host"),
    refused("https://:8443/cb", NO_NAME, "a port without a host"),
    refused("HTTPS://claude.ai/cb", NOT_ABSOLUTE, "scheme in capitals"),
    refused("Https://claude.ai/cb", NOT_ABSOLUTE, "scheme with a capital"),
    refused("1https://claude.ai/cb", NOT_ABSOLUTE, "a scheme begins with a letter"),
    # Other hosts
    refused("https://evil.example/cb", NOT_ALLOWED, "a foreign host"),
    refused("https://evilclaude.ai/cb", NOT_ALLOWED, "the end of an allowed host"),
    refused("https://claude.ai.evil.example/cb", NOT_ALLOWED, "the beginning of one"),
    refused("https://claude.a/cb", NOT_ALLOWED, "a part of one"),
    refused("https://sub.claude.ai/cb", NOT_ALLOWED, "a host below one"),
    refused("https://ai/cb", NOT_ALLOWED, "a host above one"),
    refused("https://claude-ai/cb", NOT_ALLOWED, "the dot is a dot"),
    refused("https://xn--clude-4ve.ai/cb", NOT_ALLOWED, "punycode of a look-alike"),
    # Spellings of a host
    refused("https://CLAUDE.ai/cb", NO_NAME, "host in capitals"),
    refused("https://claude.ai./cb", NO_NAME, "a trailing dot"),
    refused("https://.claude.ai/cb", NO_NAME, "a leading dot"),
    refused("https://claude..ai/cb", NO_NAME, "an empty label"),
    refused("https://-claude.ai/cb", NO_NAME, "a leading hyphen"),
    refused("https://claude.ai-/cb", NO_NAME, "a trailing hyphen"),
    refused("https://claude.-ai/cb", NO_NAME, "a label with a leading hyphen"),
    refused("https://claude-/cb", NO_NAME, "a trailing hyphen without a dot"),
    refused("https://claude-.ai/cb", NO_NAME, "a label with a trailing hyphen"),
    refused("https://claude_.ai/cb", NO_NAME, "an underscore"),
    refused("https://claude.ai;evil.example/cb", NO_NAME, "a semicolon"),
    refused("https://claude.ai,evil.example/cb", NO_NAME, "a comma"),
    refused("https://claude.ai&evil.example/cb", NO_NAME, "an ampersand"),
    refused("https://*.ai/cb", NO_NAME, "a star"),
    refused("https://[claude.ai]/cb", MALFORMED, "brackets"),
    refused("https://claude%2eai/cb", NO_NAME, "an encoded dot"),
    refused("https://claude.ai%2eevil.example/cb", NO_NAME, "an encoded dot and more"),
    refused("https://%63laude.ai/cb", NO_NAME, "an encoded letter"),
    refused("https://claude.ai%2fevil.example/cb", NO_NAME, "an encoded slash"),
    refused("https://claude.ai%40evil.example/cb", NO_NAME, "an encoded at sign"),
    refused("https://claude.ai%00.evil.example/cb", NO_NAME, "an encoded NUL"),
    refused("https://claude\uff0eai/cb", UNREADABLE, "a full-width dot"),
    refused("https://claude\u3002ai/cb", UNREADABLE, "an ideographic full stop"),
    refused("https://claude\uff61ai/cb", UNREADABLE, "a half-width full stop"),
    refused("https://\uff43laude.ai/cb", UNREADABLE, "a full-width letter"),
    refused("https://cl\u0430ude.ai/cb", UNREADABLE, "a Cyrillic letter"),
    refused("https://clau\u00addde.ai/cb", UNREADABLE, "a soft hyphen"),
    refused("https://claude\u200b.ai/cb", UNREADABLE, "a space without width"),
    refused("https://claude.a\u0131/cb", UNREADABLE, "a letter that folds to another"),
    refused("https://claude.ai\u2044cb", UNREADABLE, "a fraction slash"),
    refused("https://claude.ai\uff0fcb", UNREADABLE, "a full-width slash"),
    refused("https://evil.example\uff03.claude.ai/", UNREADABLE, "a full-width number sign"),
    refused("https://evil.example\uff20claude.ai/", UNREADABLE, "a full-width at sign"),
    refused("https://\u2100.claude.ai/", UNREADABLE, "a letter that unfolds to a slash"),
    # Who, and where exactly
    refused("https://claude.ai@evil.example/cb", NO_USER, "an allowed host as the user"),
    refused("https://evil.example@claude.ai/cb", NO_USER, "a foreign host as the user"),
    refused("https://user:pw@claude.ai/cb", NO_USER, "user and password"),
    refused("https://@claude.ai/cb", NO_USER, "an empty user"),
    refused("https://:@claude.ai/cb", NO_USER, "an empty user and password"),
    refused("https://claude.ai:443@evil.example/cb", NO_USER, "host and port as the user"),
    refused("http://localhost@evil.example/cb", NO_USER, "loopback as the user"),
    refused("http://user@localhost/cb", NO_USER, "a user on loopback"),
    refused("https://claude.ai:443/cb", NO_443, "the default port, which browsers drop"),
    refused("https://claude.ai:8443/cb", NOT_ALLOWED, "a port beside a listed host"),
    refused("https://own.example/cb", NOT_ALLOWED, "a host that is listed with a port"),
    refused("https://own.example:844/cb", NOT_ALLOWED, "a part of the listed port"),
    refused("https://localhost:8443/cb", NOT_ALLOWED, "https has no loopback rule for ports"),
    refused("https://claude.ai:/cb", MALFORMED, "an empty port"),
    refused("http://localhost:/callback", MALFORMED, "an empty port on loopback", LOCAL),
    refused("https://claude.ai:0/cb", MALFORMED, "port 0"),
    refused("https://own.example:08443/cb", MALFORMED, "a port with a zero before it"),
    refused("https://claude.ai:00443/cb", MALFORMED, "the default port with zeros before it"),
    refused("http://localhost:65536/callback", BAD_PORT, "a port that wraps around", LOCAL),
    refused("http://localhost:655350/callback", MALFORMED, "a port of six digits", LOCAL),
    refused("https://claude.ai:8443:1/cb", MALFORMED, "two ports"),
    refused("https://claude.ai:+443/cb", MALFORMED, "a port with a sign"),
    refused("https://claude.ai:80a/cb", MALFORMED, "a port with a letter"),
    # Characters that programs drop, cut at, or turn into others
    refused("https://claude.ai\\@evil.example/cb", UNREADABLE, "a backslash before an at sign"),
    refused("https://evil.example\\.claude.ai/cb", UNREADABLE, "a backslash in the host"),
    refused("https:\\\\claude.ai/cb", UNREADABLE, "backslashes for slashes"),
    refused("https://claude.ai/a\\..\\cb", UNREADABLE, "backslashes in the path"),
    refused("https://claude.ai/cb\t", UNREADABLE, "a tab, which browsers drop"),
    refused("https://claude\t.ai/cb", UNREADABLE, "a tab in the host"),
    refused("java\tscript:alert(1)", UNREADABLE, "a tab in the scheme"),
    refused("https://claude.ai/cb\n", UNREADABLE, "a newline at the end"),
    refused("https://claude.ai/cb\r\nSet-Cookie: a=b", UNREADABLE, "a header of their own"),
    refused("https://claude.ai/\x00cb", UNREADABLE, "a NUL"),
    refused("https://claude.ai\x00.evil.example/", UNREADABLE, "a NUL in the host"),
    refused("\x01https://claude.ai/cb", UNREADABLE, "a control character in front"),
    refused("https://claude.ai/cb\x1f", UNREADABLE, "a control character at the end"),
    refused("https://claude.ai/\x7fcb", UNREADABLE, "a delete character"),
    refused("https://claude.ai/\x85cb", UNREADABLE, "a control character beyond ASCII"),
    refused("https://claude.ai/\u2028cb", UNREADABLE, "a line separator"),
    refused("https://claude.ai/\u202ecb", UNREADABLE, "text that turns around"),
    refused("https://claude.ai/\ud800", UNREADABLE, "half a character"),
    refused("https://claude.ai/c b", UNREADABLE, "a space"),
    refused(" https://claude.ai/cb", UNREADABLE, "a space in front"),
    refused("https://claude.ai/cb ", UNREADABLE, "a space at the end"),
    refused('https://claude.ai/"><script>', UNREADABLE, "markup"),
    refused("https://claude.ai/{cb}", UNREADABLE, "braces, which browsers encode"),
    refused("https://claude.ai/cb?x='", UNREADABLE, "a quote, which browsers encode in a query"),
    refused("https://claude.ai/ü", UNREADABLE, "a letter, which browsers encode"),
    refused("https://claude.ai/%zz", UNREADABLE, "a percent sign that encodes nothing"),
    refused("https://claude.ai/cb?x=%", UNREADABLE, "a percent sign at the end"),
    refused("https://claude.ai/cb?x=%4", UNREADABLE, "half an encoding"),
    refused("https://claude.ai/cb#fragment", UNREADABLE, "a fragment"),
    refused("https://claude.ai/cb#", UNREADABLE, "an empty fragment"),
    refused("https://claude.ai#@evil.example/", UNREADABLE, "a fragment for a path"),
    # Paths
    refused("https://claude.ai/../cb", NO_DOTS, "one up"),
    refused("https://claude.ai/a/./cb", NO_DOTS, "the same place"),
    refused("https://claude.ai/cb/..", NO_DOTS, "one up at the end"),
    refused("https://claude.ai/cb/.", NO_DOTS, "the same place at the end"),
    refused("https://claude.ai/cb/..?x=1", NO_DOTS, "one up before a query"),
    refused("https://claude.ai/%2e%2e/cb", NO_DOTS, "one up, encoded"),
    refused("https://claude.ai/a/%2E./cb", NO_DOTS, "one up, half encoded, in capitals"),
    refused("https://claude.ai/a/.%2e/cb", NO_DOTS, "one up, half encoded"),
    refused("https://claude.ai/%2e/cb", NO_DOTS, "the same place, encoded"),
    refused("cursor://anysphere.cursor-mcp/a/../b", NO_DOTS, "one up in a custom scheme"),
    # What was registered
    refused(CLAUDE + "/x", NOT_REGISTERED, "a path that goes on", CLAUDE),
    refused(CLAUDE + "x", NOT_REGISTERED, "a path with one letter more", CLAUDE),
    refused(CLAUDE[:-1], NOT_REGISTERED, "a path with one letter less", CLAUDE),
    refused(CLAUDE + "/", NOT_REGISTERED, "a slash more", CLAUDE),
    refused(CLAUDE, NOT_REGISTERED, "a slash less", CLAUDE + "/"),
    refused("https://claude.ai/", NOT_REGISTERED, "a slash for no path", "https://claude.ai"),
    refused("https://claude.ai/CB", NOT_REGISTERED, "capitals in a path", "https://claude.ai/cb"),
    refused("https://claude.ai/%63b", NOT_REGISTERED, "an encoding", "https://claude.ai/cb"),
    refused(CLAUDE + "?x=1", NOT_REGISTERED, "a query more", CLAUDE),
    refused(CLAUDE + "?", NOT_REGISTERED, "an empty query more", CLAUDE),
    refused(CLAUDE, NOT_REGISTERED, "a query less", CLAUDE + "?x=1"),
    refused(CLAUDE + "?x=2", NOT_REGISTERED, "another value in the query", CLAUDE + "?x=1"),
    refused("https://claude.com/cb", NOT_REGISTERED, "another listed host", "https://claude.ai/cb"),
    refused(LOCAL, NOT_REGISTERED, "loopback for a host", CLAUDE),
    refused(CLAUDE, NOT_REGISTERED, "a host for loopback", LOCAL),
    refused("http://localhost:1/other", NOT_REGISTERED, "another path on loopback", LOCAL),
    refused("http://localhost:1/callback/", NOT_REGISTERED, "a slash more on loopback", LOCAL),
    refused("http://localhost:1/callback?x", NOT_REGISTERED, "a query more on loopback", LOCAL),
    refused("http://127.0.0.1:8080/callback", NOT_REGISTERED, "an address for its name", LOCAL),
    refused("http://[::1]:8080/callback", NOT_REGISTERED, "IPv6 for its name", LOCAL),
    refused(LOCAL, NOT_REGISTERED, "a name for its address", "http://127.0.0.1:8080/callback"),
    refused("https://localhost/callback", NOT_REGISTERED, "https for http on loopback", LOCAL),
    refused(LOCAL, NOT_REGISTERED, "http for https on loopback", "https://localhost:8080/callback"),
    refused(LOCAL, NOT_REGISTERED, "what was registered is no URI", "http://localhost:x/callback"),
    refused("https://own.example:8443/cb", NOT_REGISTERED, "a port more", "https://own.example/cb"),
    refused(
        "app://own.example:99/cb", NOT_REGISTERED, "another port in it", "app://own.example:98/cb"
    ),
    # An answer that is already there would be read before ours
    refused("https://claude.ai/cb?code=theirs", NO_ANSWER, "a code of their own"),
    refused("https://claude.ai/cb?x=1&state=theirs", NO_ANSWER, "a state of their own"),
    refused("https://claude.ai/cb?iss=https://evil.example", NO_ANSWER, "an issuer of their own"),
    refused("https://claude.ai/cb?error=access_denied", NO_ANSWER, "an error of their own"),
    refused("https://claude.ai/cb?error_description=x", NO_ANSWER, "a sentence of their own"),
    refused("https://claude.ai/cb?error_uri=x", NO_ANSWER, "an address for it"),
    refused("https://claude.ai/cb?code", NO_ANSWER, "a code without a value"),
    refused("https://claude.ai/cb?x=1;code=theirs", NO_ANSWER, "after a semicolon"),
    refused("https://claude.ai/cb?code=x?y=1", NO_ANSWER, "before another question mark"),
    refused("https://claude.ai/cb?%63ode=theirs", NO_ANSWER, "a name that is encoded"),
    refused("https://claude.ai/cb?Code=theirs", NO_ANSWER, "a name in capitals"),
    refused("https://claude.ai/cb?+code=theirs", NO_ANSWER, "a name with a space"),
    refused("http://localhost:8080/callback?state=x", NO_ANSWER, "on loopback"),
    refused("cursor://anysphere.cursor-mcp/cb?code=x", NO_ANSWER, "in a custom scheme"),
    # Other schemes
    refused("http://claude.ai/cb", NO_HTTP, "plain http to an allowed host"),
    refused("http://evil.example/cb", NO_HTTP, "plain http to a foreign host"),
    refused("http://own.example:8443/cb", NO_HTTP, "plain http to a listed port"),
    refused("javascript:alert(1)", NOT_ABSOLUTE, "a script"),
    refused("javascript://claude.ai/%0aalert(1)", NOT_ABSOLUTE, "a script after a comment"),
    refused("data:text/html,x", NOT_ABSOLUTE, "a document"),
    refused("data://claude.ai/x", NOT_ABSOLUTE, "a document that looks like a host"),
    refused("vbscript://claude.ai/x", NOT_ABSOLUTE, "another script"),
    refused("about://claude.ai/blank", NOT_ABSOLUTE, "a page of the browser"),
    refused("file:///etc/passwd", NOT_ABSOLUTE, "a file"),
    refused("file://localhost/etc/passwd", NOT_ABSOLUTE, "a file on this host"),
    refused("blob:https://claude.ai/x", NOT_ABSOLUTE, "a blob"),
    refused("blob://claude.ai/x", NOT_ABSOLUTE, "a blob that looks like a host"),
    refused("filesystem://claude.ai/x", NOT_ABSOLUTE, "a file system"),
    refused("ws://localhost/cb", NOT_ABSOLUTE, "a web socket"),
    refused("wss://claude.ai/cb", NOT_ABSOLUTE, "a safe web socket"),
    refused("ftp://claude.ai/cb", NOT_ABSOLUTE, "a file server"),
    refused("cursor://evil/oauth/callback", NOT_ALLOWED, "another host of a listed scheme"),
    refused("evil://anysphere.cursor-mcp/oauth/callback", NOT_ALLOWED, "another scheme"),
    refused("cursor://anysphere.cursor-mcp:80/cb", NOT_ALLOWED, "a custom scheme with a port"),
    refused("app://own.example/cb", NOT_ALLOWED, "a custom scheme without its port"),
    refused("cursor://localhost/cb", NOT_ALLOWED, "loopback in a custom scheme"),
    refused("cursor://127.0.0.1:8080/cb", NOT_ALLOWED, "a loopback address in a custom scheme"),
    refused("cursor://claude.ai/cb", NOT_ALLOWED, "a listed host in a custom scheme"),
    refused("https+x://claude.ai/cb", NOT_ALLOWED, "a scheme that begins like https"),
    refused("cursor:anysphere.cursor-mcp/cb", NOT_ABSOLUTE, "a custom scheme without slashes"),
    # Addresses that browsers rewrite, and names that look like this computer
    refused("http://localhost.evil.example/cb", NO_HTTP, "a host that begins like loopback"),
    refused("http://evil.localhost/cb", NO_HTTP, "a host that ends like loopback"),
    refused("http://localhost./callback", NO_HTTP, "loopback with a trailing dot", LOCAL),
    refused("http://LOCALHOST:8080/callback", NO_HTTP, "loopback in capitals", LOCAL),
    refused("http://127.0.0.1.evil.example/cb", NO_HTTP, "a host that begins like an address"),
    refused("http://127.1/cb", NO_HTTP, "a short address"),
    refused("http://2130706433/cb", NO_HTTP, "a decimal address"),
    refused("http://0x7f.0.0.1/cb", NO_HTTP, "a hexadecimal address"),
    refused("http://0177.0.0.1/cb", NO_HTTP, "an octal address"),
    refused("http://127.0.0.2/cb", NO_HTTP, "another address of this computer"),
    refused("http://0.0.0.0/cb", NO_HTTP, "every address of this computer"),
    refused("http://169.254.169.254/cb", NO_HTTP, "an address in a cloud"),
    refused("http://[::]/cb", MALFORMED, "every IPv6 address"),
    refused("http://[0:0:0:0:0:0:0:1]/cb", MALFORMED, "IPv6 loopback, written out"),
    refused("http://[::0001]/cb", MALFORMED, "IPv6 loopback with zeros"),
    refused("http://[::ffff:127.0.0.1]/cb", MALFORMED, "IPv4 within IPv6"),
    refused("http://[::1%25lo]/cb", MALFORMED, "IPv6 with a zone"),
    refused("http://[::1].evil.example/cb", MALFORMED, "IPv6 with a tail"),
    refused("http://::1/cb", MALFORMED, "IPv6 without brackets"),
    refused("https://[2001:db8::1]/cb", MALFORMED, "an IPv6 address"),
    refused("https://1.2.3.4/cb", NO_NAME, "an IPv4 address"),
    refused("https://16909060/cb", NO_NAME, "a decimal address by https"),
    refused("https://127.0.0.1.1/cb", NO_NAME, "five numbers"),
    refused("https://claude.1/cb", NO_NAME, "a name that ends in a number"),
    refused("https://claude.0x1f/cb", NO_NAME, "a name that ends in a hexadecimal number"),
    refused("https://claude.0xbe/cb", NO_NAME, "another that ends in a hexadecimal number"),
    refused("https://claude.0x9af0/cb", NO_NAME, "and one with every kind of digit"),
    refused("https://claude.0x/cb", NO_NAME, "a name that ends in no number at all"),
    refused("cursor://1.2.3.4/cb", NO_NAME, "an address in a custom scheme"),
]  # fmt: skip


@pytest.mark.parametrize(("uri", "registered", "allowed", "why"), PASSING)
def test_a_registered_and_allowed_uri_gets_the_code(
    uri: str, registered: str, allowed: Collection[str], why: str
) -> None:
    redirect = check(uri, [registered], allowed)

    assert redirect.uri == uri


@pytest.mark.parametrize(
    ("uri", "listed"),
    [
        ("https://0.example/cb", "0.example"),
        ("https://1a2b3c4d.example/cb", "1a2b3c4d.example"),
        ("https://a0-b-1.9--z8.c5.example/cb", "a0-b-1.9--z8.c5.example"),
        ("https://0900-9099.9099-0900.a/cb", "0900-9099.9099-0900.a"),
        ("https://90-09.09-90.a/cb", "90-09.09-90.a"),
        ("https://a/cb", "a"),
        ("https://ab.c.d/cb", "ab.c.d"),
        ("https://127.0.0.1a/cb", "127.0.0.1a"),
        ("https://mcp.server1/cb", "mcp.server1"),
        ("https://mcp.0xfg/cb", "mcp.0xfg"),
        ("https://a.example:1/cb", "a.example:1"),
        ("https://a.example:65535/cb", "a.example:65535"),
        ("https://a.example/-._~!$&()*+,;=:@[]%aF0/azAZ09", "a.example"),
        ("https://a.example/?-._~!$&()*+,;=:@/?[]%aF0azAZ09", "a.example"),
        ("x://host/cb", "x://host"),
        ("com.example.app-2+b0.19://host/cb", "com.example.app-2+b0.19://host"),
    ],
)
def test_every_plain_uri_of_a_listed_destination_gets_the_code(uri: str, listed: str) -> None:
    assert check(uri, [uri], {listed}).uri == uri


@pytest.mark.parametrize(("uri", "registered", "allowed", "because", "why"), REFUSED)
def test_a_tricky_uri_gets_nothing_even_when_registered(
    uri: str, registered: str, allowed: Collection[str], because: str, why: str
) -> None:
    with pytest.raises(InvalidRedirectUri, match=because) as refusal:
        check(uri, [registered], allowed)

    assert isinstance(refusal.value, RedirectNotAllowed) == (because == NOT_ALLOWED)
    assert re.fullmatch(r"(The redirect URI|It wants its access)\b.*\.", refusal.value.description)


@pytest.mark.parametrize(("uri", "registered", "allowed", "because", "why"), REFUSED)
def test_allowing_every_domain_lets_no_trick_through(
    uri: str, registered: str, allowed: Collection[str], because: str, why: str
) -> None:
    if because == NOT_ALLOWED and uri.startswith("https://"):
        assert check(uri, [registered], None).scheme == "https"
    else:
        with pytest.raises(InvalidRedirectUri):
            check(uri, [registered], None)


@pytest.mark.parametrize("host", ["a" * 8000, "a." * 4000, "0." * 4000, "a-" * 4000, "0x" * 4000])
def test_a_long_tricky_uri_is_refused_at_once(host: str) -> None:
    begin = time.perf_counter()

    with pytest.raises(InvalidRedirectUri):
        check(f"https://{host}-/{'/.' * 4000}?{'&;' * 4000}", [], ALLOWED)

    assert time.perf_counter() - begin < 1


def test_allowing_every_domain_allows_loopback_and_no_custom_scheme() -> None:
    assert check(LOCAL, [LOCAL], None).loopback
    with pytest.raises(RedirectNotAllowed):
        check(CURSOR, [CURSOR], None)


@pytest.mark.parametrize("listed", ["localhost", "127.0.0.1", "[::1]"])
@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]"])
def test_one_loopback_name_on_the_list_stands_for_all(host: str, listed: str) -> None:
    uri = f"http://{host}:4321/cb"

    assert check(uri, [uri], {"claude.ai", listed}).loopback


@pytest.mark.parametrize("allowed", [(), ("claude.ai",), ("localhost:8080",), ("evil.localhost",)])
def test_loopback_is_refused_when_the_owner_left_it_out(allowed: Collection[str]) -> None:
    with pytest.raises(RedirectNotAllowed, match="sent to localhost, which"):
        check(LOCAL, [LOCAL], allowed)


@pytest.mark.parametrize(
    ("uri", "listed"),
    [
        ("https://other.example/cb", "other.example"),
        ("https://other.example:8443/cb", "other.example:8443"),
        ("other://app/cb", "other://app"),
        ("other://app:1/cb", "other://app:1"),
        ("http://[::1]:8080/cb", "localhost"),
    ],
)
def test_the_refusal_says_what_to_put_on_the_list(uri: str, listed: str) -> None:
    with pytest.raises(RedirectNotAllowed) as refusal:
        check(uri, [uri], ())

    assert f"sent to {listed}, which" in refusal.value.description
    assert check(uri, [uri], {listed}).uri == uri


def test_one_of_several_registered_uris_is_enough() -> None:
    registered = ["https://evil.example/cb", "no URI", CLAUDE, "http://localhost/callback"]

    assert check(CLAUDE, registered, ALLOWED).host == "claude.ai"
    assert check(LOCAL, registered, ALLOWED).loopback
    with pytest.raises(InvalidRedirectUri, match=NOT_REGISTERED):
        check(CLAUDE, [], ALLOWED)


@pytest.mark.parametrize(
    ("uri", "parts", "loopback"),
    [
        (CLAUDE, ("https", "claude.ai", ""), False),
        ("https://own.example:8443/cb", ("https", "own.example", "8443"), False),
        ("http://[::1]:3000/cb", ("http", "[::1]", "3000"), True),
        ("https://localhost/cb", ("https", "localhost", ""), False),
        (CURSOR, ("cursor", "anysphere.cursor-mcp", ""), False),
    ],
)
def test_a_destination_is_taken_apart_for_the_page(
    uri: str, parts: tuple[str, str, str], loopback: bool
) -> None:
    redirect = read(uri)

    assert (redirect.scheme, redirect.host, redirect.port) == parts
    assert redirect.loopback is loopback


@pytest.mark.parametrize(
    ("uri", "answered"),
    [
        (CLAUDE, f"{CLAUDE}?code=c%26x&state=a+b"),
        (f"{CLAUDE}?x=1", f"{CLAUDE}?x=1&code=c%26x&state=a+b"),
        (f"{CLAUDE}?", f"{CLAUDE}?&code=c%26x&state=a+b"),
        (CURSOR, f"{CURSOR}?code=c%26x&state=a+b"),
    ],
)
def test_the_answer_is_added_to_the_query(uri: str, answered: str) -> None:
    assert read(uri).answered({"code": "c&x", "state": "a b"}) == answered


def test_a_registered_query_comes_back_with_one_answer_behind_it(site: Site) -> None:
    site.restart(allowed_redirect_domains=["claude.ai"])
    app = App.register(site, f"{CLAUDE}?account=7&x=%2F")
    owner = site.visitor()
    approve(app, owner)
    page = owner.get("/authorize", params=app.query(state="&code=x&iss=y#z"))
    answer = owner.submit(ticket=ticket_of(page), decision="approve")

    assert answer.headers["location"].startswith(f"{CLAUDE}?account=7&x=%2F&code=")
    names = [name for name, _ in parse_qsl(answer.headers["location"].partition("?")[2])]
    assert sorted(names) == ["account", "code", "iss", "state", "x"]
    assert answer_of(answer)["state"] == "&code=x&iss=y#z"
    assert answer_of(answer)["iss"] == URL


@pytest.mark.parametrize("name", ["code", "state", "iss"])
def test_an_answer_cannot_be_registered(shared_site: Site, name: str) -> None:
    body = {"redirect_uris": [f"{CLAUDE}?{name}=theirs"]}

    answer = shared_site.visitor().post("/register", json=body)

    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_redirect_uri")


REAL = [CLAUDE, f"{CLAUDE}?x=1", CURSOR, LOCAL, "http://127.0.0.1:1/cb", "http://[::1]/cb"]


@settings(max_examples=1000, deadline=None)
@given(st.integers().map(lambda seed: mutated(random.Random(seed))) | st.text(max_size=40))
@example(CLAUDE)
def test_whatever_passes_has_the_scheme_and_host_of_an_allowed_entry(uri: str) -> None:
    try:
        redirect = check(uri, [uri], ALLOWED)
    except InvalidRedirectUri:
        return

    scheme, host, port, _, _ = taken_apart(uri)
    assert (redirect.scheme, redirect.host, redirect.port) == (scheme, host, port)
    where = host + (f":{port}" if port else "")
    on_this_computer = scheme == "http" and host in {"localhost", "127.0.0.1", "[::1]"}
    listed = where in ALLOWED if scheme == "https" else f"{scheme}://{where}" in ALLOWED
    assert on_this_computer or listed
    assert uri.isascii()
    assert uri.isprintable()


@settings(max_examples=1000, deadline=None)
@given(st.integers().map(lambda seed: mutated(random.Random(seed), REAL)))
@example("http://localhost:9/callback")
def test_whatever_passes_has_scheme_host_path_and_query_of_a_registered_uri(uri: str) -> None:
    try:
        check(uri, REAL, ALLOWED)
    except InvalidRedirectUri:
        return

    scheme, host, _, path, query = taken_apart(uri)
    without_ports = {(s, h, p, q) for s, h, _, p, q in map(taken_apart, REAL)}
    assert (scheme, host, path, query) in without_ports
    assert uri in REAL or (scheme == "http" and host in {"localhost", "127.0.0.1", "[::1]"})
