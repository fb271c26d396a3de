"""A malformed or weak setting is one sentence, and nothing starts."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from personal_auth.owner import hash_password
from personal_server import settings
from personal_server.settings import SettingRefused, load, publish

ANSWERS: dict[str, Any] = {
    "public_url": "http://localhost:8050",
    "port": 8050,
    "clients": ["claude", "local"],
    "tunnel": "cloudflared",
}


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(settings, "answers", lambda: ANSWERS)
    monkeypatch.setattr(settings, "project_root", lambda: tmp_path)
    return tmp_path


def test_without_settings_the_answers_hold(project: Path) -> None:
    loaded = load()

    assert (loaded.public_url, loaded.host, loaded.port) == (
        "http://localhost:8050",
        "127.0.0.1",
        8050,
    )
    assert loaded.allowed_redirect_domains == ("claude.ai", "claude.com", "localhost")
    assert (loaded.state_dir, loaded.data_dir) == (project / ".oauth-state", project / "data")


def test_the_environment_wins_over_the_file_and_the_file_over_the_answers(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / ".env").write_text("MCP_PORT=9001\nMCP_PUBLIC_URL=https://file.example.com\n")
    monkeypatch.setenv("MCP_PUBLIC_URL", "https://environment.example.com/")

    loaded = load()

    assert (loaded.port, loaded.public_url) == (9001, "https://environment.example.com")


def test_a_local_url_follows_the_port(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MCP_PORT", "9000")

    assert load().public_url == "http://localhost:9000"


@pytest.mark.parametrize(
    ("tunnel", "given", "believed"),
    [
        ("cloudflared", None, ("127.0.0.1", "::1")),
        ("caddy", None, ("127.0.0.1", "::1")),
        ("none", None, ()),
        ("none", "192.0.2.7", ("192.0.2.7",)),
        ("tailscale", "10.31.114.0/24,", ("10.31.114.0/24",)),  # as compose.yml has it
    ],
)
def test_which_proxies_are_believed_follows_from_the_answer_until_it_is_set(
    monkeypatch: pytest.MonkeyPatch, tunnel: str, given: str | None, believed: tuple[str, ...]
) -> None:
    monkeypatch.setattr(settings, "answers", lambda: ANSWERS | {"tunnel": tunnel})
    if given:
        monkeypatch.setenv("MCP_TRUSTED_PROXIES", given)

    assert load().trusted_proxies == believed


def test_clients_of_the_owner_are_a_json_list(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = {"client_id": "my-app", "redirect_uris": ["https://claude.ai/cb"]}
    monkeypatch.setenv("MCP_CLIENTS", json.dumps([entry]))

    loaded = load()

    assert loaded.clients == (entry,)
    assert "my-app" not in repr(loaded)


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ("my-app", "it is no JSON list"),
        ('{"client_id": "my-app"}', "it is no JSON list"),
        ("[1]", "it is no JSON list"),
        ('[{"client_id": "my-app"}]', "needs a list of redirect_uris"),
        (
            '[{"client_id": "my-app", "redirect_uris": ["https://x.example/cb"]}]',
            "not on this server's list of allowed redirect domains",
        ),
        (
            '[{"client_id": "a", "redirect_uris": ["https://claude.ai/cb"]},'
            ' {"client_id": "a", "redirect_uris": ["https://claude.ai/cb"]}]',
            "the same client_id",
        ),
        (
            '[{"client_id": "a", "client_secret": "hush", "redirect_uris": []}]',
            "at least 16 characters",
        ),
    ],
)
def test_a_client_that_cannot_be_used_is_refused(
    monkeypatch: pytest.MonkeyPatch, value: str, sentence: str
) -> None:
    monkeypatch.setenv("MCP_CLIENTS", value)

    with pytest.raises(SettingRefused, match=sentence) as refused:
        load()

    assert str(refused.value).startswith("MCP_CLIENTS is refused: ")
    assert "hush" not in str(refused.value)


def test_lists_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MCP_ALLOWED_REDIRECT_DOMAINS", "claude.ai, example.com,")

    assert load().allowed_redirect_domains == ("claude.ai", "example.com")


def test_a_complete_hash_in_single_quotes_is_a_password(project: Path) -> None:
    hashed = hash_password("some long password")
    (project / ".env").write_text(f"MCP_PASSWORD='{hashed}'\n")

    assert load().password == hashed


HASH = "$argon2id$v=19$m=19456,t=2,p=1$MDEyMzQ1Njc4OWFiY2RlZg$" + "A" * 43


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("MCP_PUBLIC_URL", "http://mcp.example.com", "https"),
        ("MCP_PUBLIC_URL", "https://mcp.example.com/mcp", "without a path"),
        ("MCP_PUBLIC_URL", "https://user@mcp.example.com", "https://mcp.example.com"),
        ("MCP_PUBLIC_URL", "https://mcp.example.com:443", "leave out the port"),
        ("MCP_PUBLIC_URL", "https://Example.com", "lower case"),
        ("MCP_PUBLIC_URL", "mcp.example.com", "https://mcp.example.com"),
        ("MCP_PORT", "0", "is refused: write 1 or more."),
        ("MCP_PORT", "70000", "is refused: write 65535 or less."),
        ("MCP_PORT", "70000", "65535"),
        ("MCP_PORT", "http", "write a whole number"),
        ("MCP_PASSWORD", "short", "at least 12"),
        ("MCP_PASSWORD", HASH[:40], "single quotes"),
        ("MCP_PASSWORD", "=19=19456,t=2,p=1", "single quotes"),
        ("MCP_PASSWORD", HASH.replace("$argon2id", ""), "single quotes"),
        ("MCP_PASSWORD", HASH.replace("m=19456", "m=99999999"), "single quotes"),
        ("MCP_ACCESS_TOKEN_EXPIRY_SECONDS", "0", "1"),
        ("MCP_ACCESS_TOKEN_EXPIRY_SECONDS", "a month", "write a whole number"),
        ("MCP_CLIENT_DOCUMENTS", "perhaps", "write true or false"),
        ("MCP_ALLOWED_REDIRECT_DOMAINS", ",", "claude.ai"),
        ("MCP_ALLOWED_REDIRECT_DOMAINS", "https://claude.ai/cb", "claude.ai"),
        ("MCP_TRUSTED_PROXIES", "my-proxy", "172.16.0.0/12"),
        ("MCP_LOG_FORMAT", "xml", "'text' or 'json'"),
        ("MCP_RESPONSES", "stream", "'json' or 'sse'"),
        ("MCP_NOTIFY_URL", "ntfy.sh/SECRET", "neither https:// nor http://, as in https://ntfy.sh"),
        ("MCP_NOTIFY_URL", "ftp://ntfy.sh/SECRET", "neither https:// nor http://"),
        ("MCP_NOTIFY_URL", "https:///SECRET", "write it as in https://ntfy.sh"),
        ("MCP_NOTIFY_URL", "https://ntfy.sh:70000/SECRET", "write it as in"),
        ("MCP_NOTIFY_URL", "https://ntfy.sh/SECRET topic", "write it as in"),
        ("MCP_NOTIFY_URL", "https://ntfy.sh\\@evil.example/SECRET", "write it as in"),
        ("MCP_NOTIFY_URL", "https://u:p@SECRET@ntfy.sh/x", "write it as in"),
        ("MCP_NOTIFY_URL", "https://[::1/SECRET", "write it as in"),
        ("MCP_NOTIFY_URL", "https://ntfy.sh/x#SECRET", "write it as in"),
        ("MCP_NOTIFY_URL", "https://ntfy\u3002sh/SECRET", "write it as in"),
        ("MCP_NOTIFY_URL", "http://ntfy.sh/SECRET", "it must begin with https"),
        ("MCP_NOTIFY_URL", "http://8.8.8.8/SECRET", "it must begin with https"),
        ("MCP_NOTIFY_URL", "http://134744072/SECRET", "it must begin with https"),
        ("MCP_NOTIFY_URL", "http://[2001:db8::1]/SECRET", "it must begin with https"),
        ("MCP_STORAGE_URL", "mysql://localhost/state", "redis://, rediss:// and postgresql://"),
        ("MCP_STORAGE_URL", "redis://:pa/SECRET@localhost:6379/0", "percent codes"),
        ("MCP_STORAGE_URL", "redis://:pa@SECRET@localhost:6379/0", "percent codes"),
        ("MCP_STORAGE_URL", "redis://:pa#SECRET@localhost:6379/0", "percent codes"),
        ("MCP_STORAGE_URL", "redis://:pa?SECRET@localhost:6379/0", "percent codes"),
        ("MCP_STORAGE_URL", "redis://[::1/0", "percent codes"),
        ("MCP_STORAGE_URL", "redis://localhost:70000/0", "percent codes"),
        ("MCP_STORAGE_URL", "redis:///0", "percent codes"),
        ("MCP_STORAGE_URL", "redis://localhost/state", "by number"),
        ("MCP_STORAGE_URL", "redis://localhost/0?ssl_cert_reqs=none", "TLS needs rediss://"),
        ("MCP_STORAGE_URL", "rediss://localhost/0?ssl_cert_reqs=never", "none, optional, required"),
        ("MCP_STORAGE_URL", "rediss://localhost/0?ssl_ca_certs=/none.pem", "correct the path"),
        ("MCP_STORAGE_URL", "postgresql://owner:SECRET@localhost", "names no database"),
        ("MCP_STORAGE_URL", "postgresql://localhost/d?channel_binding=require", "it knows"),
        ("MCP_STORAGE_URL", "postgresql://localhost/d?sslmode=always", "verify-full"),
    ],
)
def test_a_bad_setting_is_one_sentence_that_names_it_and_the_cure(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, says: str
) -> None:
    monkeypatch.setenv(name, value)

    with pytest.raises(SettingRefused) as refused:
        load()

    sentence = str(refused.value)
    assert sentence.startswith(f"{name} is refused: ")
    assert says in sentence
    assert "\n" not in sentence
    assert sentence.endswith(".")
    assert "SECRET" not in sentence
    if name == "MCP_PASSWORD":
        assert value not in sentence


@pytest.mark.parametrize(
    "url",
    [
        *("https://ntfy.sh/topic", "https://user:p%40ss@ntfy.example.com:8443/topic?up=1"),
        *("http://localhost:8080/topic", "http://127.0.0.1/topic", "http://[::1]:8080/topic"),
        *("http://192.168.1.2/topic", "http://10.0.0.2", "http://[fd00::1]/t", "http://ntfy/topic"),
        *("http://my_ntfy:80/topic", "http://nas.local/topic", "http://ntfy.home.arpa/topic"),
    ],
)
def test_a_webhook_may_be_anywhere_by_https_and_nearby_by_http(
    monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("MCP_NOTIFY_URL", url)

    loaded = load()

    assert loaded.notify_url == url
    assert url not in repr(loaded)


def test_of_a_setting_that_is_written_twice_the_last_holds_for_the_server_and_its_tools(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = ["MCP_DATA_DIR=first", "MCP_DATA_DIR=second", "MCP_PASSWORD=of an older time"]
    (project / ".env").write_text("\n".join([*lines, "MCP_PASSWORD=", ""]))
    monkeypatch.setattr(os, "environ", dict(os.environ))

    server = load()
    publish()

    assert (server.data_dir, server.password) == (project / "second", None)
    assert load().data_dir == server.data_dir


def test_a_misspelt_setting_in_the_file_is_refused_with_the_right_name(project: Path) -> None:
    (project / ".env").write_text("MCP_PASWORD=something long enough\n")

    with pytest.raises(SettingRefused, match="did you mean MCP_PASSWORD"):
        load()


@pytest.mark.parametrize("folder", [".oauth-state", ".oauth-state/data"])
def test_the_tools_data_must_not_lie_beside_the_connections(
    monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    monkeypatch.setenv("MCP_DATA_DIR", folder)

    with pytest.raises(SettingRefused, match="MCP_STATE_DIR"):
        load()


@pytest.mark.parametrize("folder", ["data/state", "data/a/b"])
def test_the_connections_must_not_lie_in_what_tools_read_and_backups_copy(
    monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    monkeypatch.setenv("MCP_STATE_DIR", folder)

    with pytest.raises(SettingRefused, match="MCP_STATE_DIR must not lie inside MCP_DATA_DIR"):
        load()


def test_a_file_that_is_no_text_is_refused(project: Path) -> None:
    (project / ".env").write_bytes(b"MCP_PORT=\xff\xfe")

    with pytest.raises(SettingRefused, match="UTF-8"):
        load()


@pytest.mark.parametrize(
    "line", ["MCP_PASSWORD='it's a sentence'", 'MCP_PASSWORD="not closed', "= x"]
)
def test_a_line_that_cannot_be_read_is_refused_with_its_number(project: Path, line: str) -> None:
    (project / ".env").write_text(f"MCP_PORT=9000\n{line}\n")

    with pytest.raises(SettingRefused, match="line 2"):
        load()


def test_a_misspelt_setting_in_the_environment_is_refused_and_foreign_ones_are_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MCP_REMOTE_CONFIG_DIR", "/somewhere")
    assert load().port == 8050
    monkeypatch.setenv("MCP_PASWORD", "something long enough")

    with pytest.raises(SettingRefused, match="did you mean MCP_PASSWORD"):
        load()
