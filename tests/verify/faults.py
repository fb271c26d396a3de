"""Ways in which a server can be broken, each with the one check that must notice it."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.verify.proxy import Answer, Asked, Fault, html_answer, json_answer, redirect

SERVER_METADATA = "/.well-known/oauth-authorization-server"
OPENID = "/.well-known/openid-configuration"
RESOURCE_METADATA = "/.well-known/oauth-protected-resource"


@dataclass(frozen=True)
class Broken:
    """A sentence, the check that fails, and what makes the fault for a server at a URL."""

    sentence: str
    check: str
    make: Callable[[Site], Fault]


@dataclass(frozen=True)
class Site:
    """What a fault may know."""

    url: str
    password: str


BROKEN: list[Broken] = []


def breaks(check: str, sentence: str) -> Callable[[Callable[[Site], Fault]], None]:
    return lambda make: BROKEN.append(Broken(sentence, check, make))


# ---- Small faults out of which most are made -----------------------------------------------------


class Answering(Fault):
    """Answers some requests in the server's place."""

    def __init__(self, when: Callable[[Asked], bool], give: Callable[[Asked], Answer]) -> None:
        self.when, self.give = when, give

    def before(self, asked: Asked) -> Answer | None:
        return self.give(asked) if self.when(asked) else None


class Asking(Fault):
    """Alters some requests."""

    def __init__(self, when: Callable[[Asked], bool], change: Callable[[Asked], None]) -> None:
        self.when, self.change = when, change

    def before(self, asked: Asked) -> None:
        if self.when(asked):
            self.change(asked)


class Changing(Fault):
    """Alters some answers."""

    def __init__(self, when: Callable[[Asked], bool], change: Callable[[Answer], None]) -> None:
        self.when, self.change = when, change

    def after(self, asked: Asked, answer: Answer) -> None:
        if self.when(asked):
            self.change(answer)


def at(*starts: str) -> Callable[[Asked], bool]:
    return lambda asked: asked.path.startswith(starts)


def exactly(method: str, path: str) -> Callable[[Asked], bool]:
    return lambda asked: (asked.method, asked.path) == (method, path)


def calling(method: str) -> Callable[[Asked], bool]:
    return lambda asked: asked.path == "/mcp" and asked.message.get("method") == method


def granting(kind: str) -> Callable[[Asked], bool]:
    return lambda asked: asked.path == "/token" and asked.form.get("grant_type") == kind


def without(*names: str) -> Callable[[Answer], None]:
    def change(answer: Answer) -> None:
        answer.headers = {k: v for k, v in answer.headers.items() if k.lower() not in names}

    return change


def with_members(**members: Any) -> Callable[[Answer], None]:
    """Sets members of a JSON document; Ellipsis removes one."""

    def change(answer: Answer) -> None:
        if answer.status < 300:
            whole = {**answer.json, **members}
            answer.json = {name: value for name, value in whole.items() if value is not ...}

    return change


def with_result(change: Callable[[dict[str, Any]], None]) -> Callable[[Answer], None]:
    def changed(answer: Answer) -> None:
        message = answer.json
        if answer.status == 200:
            change(message["result"])
            answer.json = message

    return changed


def replacing(pattern: str, by: str) -> Callable[[Answer], None]:
    def change(answer: Answer) -> None:
        answer.body = re.sub(pattern.encode(), by.encode(), answer.body)

    return change


def with_location(pattern: str, by: str, status: int | None = None) -> Callable[[Answer], None]:
    def change(answer: Answer) -> None:
        if "location" in answer.headers:
            answer.status = status or answer.status
            answer.headers["location"] = re.sub(pattern, by, answer.headers["location"])

    return change


def deciding(asked: Asked) -> bool:
    return exactly("POST", "/authorize")(asked) and "decision" in asked.form


def asking(asked: Asked) -> bool:
    return exactly("GET", "/authorize")(asked)


def for_loopback(asked: Asked) -> bool:
    return asking(asked) and "127.0.0.1" in asked.query.get("redirect_uri", "")


# ---- Reaching it ---------------------------------------------------------------------------------


@breaks("reach.health", "the tunnel leads to another program")
def _(site: Site) -> Fault:
    return Answering(at("/healthz"), lambda asked: Answer(404))


@breaks("reach.health", "the server behind the tunnel is gone")
def _(site: Site) -> Fault:
    return Answering(at("/healthz"), lambda asked: html_answer(502, "Bad gateway"))


@breaks("reach.json", "a challenge page stands before the metadata")
def _(site: Site) -> Fault:
    return Answering(at("/.well-known/"), lambda asked: html_answer(200))


@breaks("reach.json", "the metadata is redirected to another host")
def _(site: Site) -> Fault:
    where = "https://www.example.com"
    return Answering(at("/.well-known/"), lambda asked: redirect(301, where + asked.path))


@breaks("reach.json", "what is not there is a page of the proxy")
def _(site: Site) -> Fault:
    return Changing(at("/.well-known/nothing"), replacing(".*", "Not found"))


# ---- What clients discover -----------------------------------------------------------------------


@breaks("metadata.server", "the metadata has no registration endpoint")
def _(site: Site) -> Fault:
    return Changing(at(SERVER_METADATA, OPENID), with_members(registration_endpoint=...))


@breaks("metadata.server", "public clients are not welcome")
def _(site: Site) -> Fault:
    methods = ["client_secret_post", "client_secret_basic"]
    members = with_members(token_endpoint_auth_methods_supported=methods)
    return Changing(at(SERVER_METADATA, OPENID), members)


@breaks("metadata.server", "the metadata has a null member")
def _(site: Site) -> Fault:
    return Changing(at(SERVER_METADATA, OPENID), with_members(service_documentation=None))


@breaks("metadata.resource", "the resource has two authorization servers")
def _(site: Site) -> Fault:
    servers = [site.url, "https://other.example"]
    return Changing(at(RESOURCE_METADATA), with_members(authorization_servers=servers))


@breaks("metadata.resource", "the resource offers offline_access")
def _(site: Site) -> Fault:
    scopes = ["tools", "offline_access"]
    return Changing(at(RESOURCE_METADATA), with_members(scopes_supported=scopes))


@breaks("metadata.equal", "the alias below /mcp says something else")
def _(site: Site) -> Fault:
    return Changing(at(f"{SERVER_METADATA}/mcp"), with_members(issuer=f"{site.url}/mcp"))


@breaks("metadata.equal", "the OpenID alias is missing")
def _(site: Site) -> Fault:
    return Answering(at(OPENID), lambda asked: json_answer(404, {"error": "not_found"}))


@breaks("metadata.equal", "the root document of the resource is missing")
def _(site: Site) -> Fault:
    missing = json_answer(404, {"error": "not_found"})
    return Answering(exactly("GET", RESOURCE_METADATA), lambda asked: missing)


@breaks("metadata.issuer", "the issuer ends with a slash")
def _(site: Site) -> Fault:
    return Changing(at(SERVER_METADATA, OPENID), with_members(issuer=f"{site.url}/"))


@breaks("metadata.issuer", "the public URL is another one")
def _(site: Site) -> Fault:
    def change(answer: Answer) -> None:
        replacing(re.escape(site.url), "https://mcp.example.com")(answer)
        for name, value in answer.headers.items():
            answer.headers[name] = value.replace(site.url, "https://mcp.example.com")

    return Changing(at("/.well-known/", "/mcp"), change)


@breaks("metadata.issuer", "an endpoint is on another host")
def _(site: Site) -> Fault:
    members = with_members(token_endpoint="https://login.example.com/token")
    return Changing(at(SERVER_METADATA, OPENID), members)


@breaks("metadata.issuer", "the resource ends with a slash")
def _(site: Site) -> Fault:
    return Changing(at(RESOURCE_METADATA), with_members(resource=f"{site.url}/mcp/"))


# ---- Registration and the gate -------------------------------------------------------------------


@breaks("register.dcr", "registration is switched off")
def _(site: Site) -> Fault:
    return Answering(at("/register"), lambda asked: Answer(404))


@breaks("register.dcr", "a registration gives no client_id")
def _(site: Site) -> Fault:
    return Changing(at("/register"), with_members(client_id=...))


@breaks("gate.challenge", "the challenge is stripped")
def _(site: Site) -> Fault:
    return Changing(at("/mcp"), without("www-authenticate"))


@breaks("gate.challenge", "the challenge names a relative address")
def _(site: Site) -> Fault:
    def change(answer: Answer) -> None:
        challenge = answer.headers.get("www-authenticate", "")
        answer.headers["www-authenticate"] = challenge.replace(site.url, "")

    return Changing(at("/mcp"), change)


@breaks("gate.challenge", "GET needs no token")
def _(site: Site) -> Fault:
    return Answering(exactly("GET", "/mcp"), lambda asked: Answer(200))


@breaks("gate.challenge", "HEAD is not allowed")
def _(site: Site) -> Fault:
    return Answering(exactly("HEAD", "/mcp"), lambda asked: Answer(405))


@breaks("gate.challenge", "a slash at the end is redirected")
def _(site: Site) -> Fault:
    return Answering(
        lambda asked: asked.path == "/mcp/", lambda asked: redirect(307, f"{site.url}/mcp")
    )


@breaks("gate.agents", "the edge blocks Claude")
def _(site: Site) -> Fault:
    return Answering(
        lambda asked: asked.headers.get("user-agent") == "Claude-User",
        lambda asked: html_answer(403, "Attention Required!"),
    )


@breaks("gate.cors", "the proxy answers OPTIONS itself")
def _(site: Site) -> Fault:
    return Answering(lambda asked: asked.method == "OPTIONS", lambda asked: Answer(405))


@breaks("gate.cors", "browsers may not read the challenge")
def _(site: Site) -> Fault:
    return Changing(at("/mcp"), without("access-control-expose-headers"))


# ---- As a stranger -------------------------------------------------------------------------------


@breaks("stranger.token", "everybody is approved at once")
def _(site: Site) -> Fault:
    return Answering(
        asking, lambda asked: redirect(302, f"{asked.query['redirect_uri']}?code=pac_made&state=s")
    )


@breaks("stranger.token", "Approve works without a password")
def _(site: Site) -> Fault:
    back = redirect(303, "https://claude.ai/api/mcp/auth_callback?code=pac_made")
    return Answering(lambda asked: deciding(asked) and "password" not in asked.form, lambda _: back)


@breaks("stranger.token", "any code gets a token")
def _(site: Site) -> Fault:
    tokens = {"access_token": "pat_made", "refresh_token": "prt_made", "token_type": "Bearer"}
    return Answering(granting("authorization_code"), lambda asked: json_answer(200, tokens))


@breaks("stranger.page", "form-action makes Approve do nothing")
def _(site: Site) -> Fault:
    def change(answer: Answer) -> None:
        policy = answer.headers.get("content-security-policy", "")
        answer.headers["content-security-policy"] = f"{policy}; form-action 'self'"

    return Changing(asking, change)


@breaks("stranger.page", "the page can be framed")
def _(site: Site) -> Fault:
    return Changing(asking, without("content-security-policy", "x-frame-options"))


@breaks("stranger.page", "the page cannot be denied")
def _(site: Site) -> Fault:
    return Changing(asking, replacing('<button[^>]*value="deny".*?</button>', ""))


@breaks("stranger.page", "the page asks for no password")
def _(site: Site) -> Fault:
    return Changing(asking, replacing('type="password"', 'type="text"'))


@breaks("stranger.page", "no known client may return")
def _(site: Site) -> Fault:
    return Answering(asking, lambda asked: html_answer(400, "This app may not connect"))


def is_foreign(asked: Asked) -> bool:
    return asking(asked) and "stranger.example" in asked.query.get("redirect_uri", "")


@breaks("stranger.redirect", "errors are sent to whoever asks")
def _(site: Site) -> Fault:
    def give(asked: Asked) -> Answer:
        return redirect(302, f"{asked.query['redirect_uri']}?error=invalid_request")

    return Answering(is_foreign, give)


@breaks("stranger.redirect", "a host that begins with an allowed one is allowed")
def _(site: Site) -> Fault:
    def when(asked: Asked) -> bool:
        return "claude.ai.stranger.example" in asked.query.get("redirect_uri", "")

    return Answering(when, lambda asked: html_answer(200, "Connect an app?"))


def own_challenge(asked: Asked) -> None:
    """Makes a request pass that has no proper PKCE."""
    challenge = base64.urlsafe_b64encode(hashlib.sha256(b"x").digest()).decode().rstrip("=")
    asked.query |= {"code_challenge": challenge, "code_challenge_method": "S256"}


@breaks("stranger.pkce", "the method plain is accepted")
def _(site: Site) -> Fault:
    return Asking(lambda asked: asked.query.get("code_challenge_method") == "plain", own_challenge)


@breaks("stranger.pkce", "PKCE may be left out")
def _(site: Site) -> Fault:
    return Asking(
        lambda asked: for_loopback(asked) and "code_challenge" not in asked.query, own_challenge
    )


@breaks("stranger.bearer", "a made-up token is accepted")
def _(site: Site) -> Fault:
    def when(asked: Asked) -> bool:
        return not asked.headers.get("authorization", "Bearer pat_").startswith("Bearer pat_")

    return Answering(when, lambda asked: json_answer(200, {"jsonrpc": "2.0", "result": {}}))


@breaks("stranger.host", "the proxy sets the Host itself")
def _(site: Site) -> Fault:
    own = site.url.removeprefix("http://")
    return Asking(lambda asked: True, lambda asked: asked.headers.update(host=own))


@breaks("stranger.origin", "a foreign Origin is not looked at")
def _(site: Site) -> Fault:
    own = {"origin": site.url}
    return Asking(
        lambda asked: "stranger" in asked.headers.get("origin", ""),
        lambda asked: asked.headers.update(own),
    )


# ---- As the owner --------------------------------------------------------------------------------


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
        if not granting("authorization_code")(asked):
            return None
        hashed = hashlib.sha256(asked.form["code_verifier"].encode()).digest()
        challenge = base64.urlsafe_b64encode(hashed).decode().rstrip("=")
        return (
            None if challenge in self.challenges else json_answer(400, {"error": "invalid_grant"})
        )


# ---- As a client ---------------------------------------------------------------------------------


@breaks("protocol.initialize", "only an older revision is spoken")
def _(site: Site) -> Fault:
    older = with_result(lambda result: result.update(protocolVersion="2025-03-26"))
    return Changing(calling("initialize"), older)


@breaks("protocol.initialize", "there are no instructions")
def _(site: Site) -> Fault:
    silent = with_result(lambda result: result.update(instructions=""))
    return Changing(calling("initialize"), silent)


@breaks("protocol.notification", "a notification is answered with a result")
def _(site: Site) -> Fault:
    result: dict[str, Any] = {"jsonrpc": "2.0", "id": None, "result": {}}
    return Answering(calling("notifications/initialized"), lambda asked: json_answer(200, result))


@breaks("protocol.discover", "the stateless revision is not known")
def _(site: Site) -> Fault:
    error = {"jsonrpc": "2.0", "id": None, "error": {"code": -32601, "message": "Method not found"}}
    return Answering(calling("server/discover"), lambda asked: json_answer(404, error))


# ---- Tools ---------------------------------------------------------------------------------------


@breaks("tools.list", "there are no tools")
def _(site: Site) -> Fault:
    return Changing(calling("tools/list"), with_result(lambda result: result["tools"].clear()))


@breaks("tools.list", "a tool has no description")
def _(site: Site) -> Fault:
    bare = with_result(lambda result: result["tools"][0].pop("description"))
    return Changing(calling("tools/list"), bare)


@breaks("tools.prefix", "a tool has no prefix")
def _(site: Site) -> Fault:
    named = with_result(lambda result: result["tools"][0].update(name="delete"))
    return Changing(calling("tools/list"), named)


@breaks("tools.prefix", "a tool has another prefix")
def _(site: Site) -> Fault:
    named = with_result(lambda result: result["tools"][0].update(name="other_delete"))
    return Changing(calling("tools/list"), named)


@breaks("tools.prefix", "the prefix is that of a built-in feature")
class _Renamed(Fault):
    def __init__(self, site: Site) -> None:
        pass

    def before(self, asked: Asked) -> None:
        if calling("tools/call")(asked):
            asked.body = asked.body.replace(b'"memory_', b'"myserver_')

    def after(self, asked: Asked, answer: Answer) -> None:
        if calling("tools/list")(asked) or calling("initialize")(asked):
            answer.body = answer.body.replace(b"myserver_", b"memory_")


@breaks("tools.prefix", "the instructions do not name the prefix")
def _(site: Site) -> Fault:
    return Changing(calling("initialize"), replacing("myserver_", ""))


@breaks("tools.call", "the database connection has gone stale")
def _(site: Site) -> Fault:
    def stale(result: dict[str, Any]) -> None:
        content = [{"type": "text", "text": "connection already closed"}]
        result.clear()
        result.update(content=content, isError=True)

    return Changing(calling("tools/call"), with_result(stale))


# ---- Keeping and ending a connection -------------------------------------------------------------


@breaks("grant.refresh", "a repeated refresh is answered with other tokens")
class _StrictRotation(Fault):
    """Puts the successor in the place of a refresh token that was used before."""

    def __init__(self, site: Site) -> None:
        self.successors: dict[str, str] = {}

    def before(self, asked: Asked) -> None:
        presented = asked.form.get("refresh_token", "") if asked.path == "/token" else ""
        if presented in self.successors:
            asked.form = {**asked.form, "refresh_token": self.successors[presented]}

    def after(self, asked: Asked, answer: Answer) -> None:
        if granting("refresh_token")(asked) and answer.status == 200:
            self.successors[asked.form["refresh_token"]] = answer.json["refresh_token"]


@breaks("grant.refresh", "a refresh ends the access token before it")
class _OldTokenDies(Fault):
    def __init__(self, site: Site) -> None:
        self.first = ""
        self.refreshed = False

    def before(self, asked: Asked) -> Answer | None:
        if self.refreshed and asked.headers.get("authorization") == f"Bearer {self.first}":
            return json_answer(401, {"error": "invalid_token"})
        return None

    def after(self, asked: Asked, answer: Answer) -> None:
        if asked.path == "/token" and answer.status == 200:
            self.refreshed = granting("refresh_token")(asked)
            self.first = self.first or answer.json["access_token"]


@breaks("grant.refresh", "a refresh token cannot be used")
def _(site: Site) -> Fault:
    refused = json_answer(400, {"error": "invalid_grant"})
    return Answering(granting("refresh_token"), lambda asked: refused)


@breaks("grant.revoke", "a revoked connection lives on")
def _(site: Site) -> Fault:
    return Answering(at("/revoke"), lambda asked: json_answer(200, {}))


@breaks("grant.revoke", "a public client may not revoke")
def _(site: Site) -> Fault:
    refused = json_answer(401, {"error": "invalid_client"})
    return Answering(at("/revoke"), lambda asked: refused)


def event_stream(asked: Asked, answer: Answer) -> None:
    """Sends an MCP answer as an event stream; clients must cope with both."""
    if asked.path == "/mcp" and answer.status == 200 and isinstance(answer.json, dict):
        note = {"jsonrpc": "2.0", "method": "notifications/message", "params": {}}
        events = "".join(
            f"event: message\r\ndata: {json.dumps(message)}\r\n\r\n"
            for message in (note, answer.json)
        )
        answer.body = f": ping\r\n\r\n{events}".encode()
        answer.headers["content-type"] = "text/event-stream"
