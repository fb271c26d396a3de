"""What the server is told: the template's answers, then `.env`, then the environment.

Each setting is checked before anything starts; a malformed or weak one is one sentence.
"""

from __future__ import annotations

import difflib
import json
import os
import re
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

from dotenv import load_dotenv
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from personal_auth.addresses import network
from personal_auth.identity import Identity
from personal_auth.owner import check_configured
from personal_auth.registration import by_the_owner
from personal_auth.remote import check_url
from personal_server.envfile import PREFIX, bindings, written
from personal_server.envfile import SettingRefused as SettingRefused
from personal_server.webhook import check_url as check_webhook

SHORTEST_PASSWORD = 12
DOMAIN = re.compile(  # claude.ai, localhost, own.example:8443, cursor://anysphere.cursor-mcp
    r"(?:[a-z][a-z0-9+.-]*://)?[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?(?::[1-9][0-9]{0,4})?\Z"
)

# Which redirect domains an answer to the question `clients` stands for.
CLIENT_DOMAINS = {
    "claude": ("claude.ai", "claude.com"),
    "chatgpt": ("chatgpt.com",),
    "cursor": ("www.cursor.com", "cursor://anysphere.cursor-mcp", "localhost"),
    "vscode": ("vscode.dev", "insiders.vscode.dev", "localhost"),
    "local": ("localhost",),
}

LOOPBACK = ("127.0.0.1", "::1")  # where a tunnel or proxy on this computer comes from


def project_root() -> Path:
    """Returns the folder of the project this runs from, else the current directory."""
    folder = Path(__file__).resolve().parents[2]
    return folder if (folder / "pyproject.toml").is_file() else Path.cwd()


def env_file() -> Path:
    """Returns the file with the owner's settings; it may not exist."""
    return project_root() / ".env"


@lru_cache(maxsize=1)
def answers() -> dict[str, Any]:
    """Returns what was answered when the project was made or last updated."""
    text = (Path(__file__).parent / "answers.json").read_text(encoding="utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


def _public_url(value: str) -> str:
    return Identity.of(value).issuer


def _password(value: str) -> str:
    check_configured(value)
    if len(value) < SHORTEST_PASSWORD:
        raise ValueError(
            f"it has {len(value)} characters and guards everything behind this server: choose at"
            f" least {SHORTEST_PASSWORD}, or leave it out to have one generated"
        )
    return value


def _comma_separated(value: object) -> object:
    if not isinstance(value, str):
        return value
    return tuple(part.strip() for part in value.split(",") if part.strip())


def _folder(value: Path) -> Path:
    return value if value.is_absolute() else project_root() / value


def _domains(value: tuple[str, ...]) -> tuple[str, ...]:
    for domain in value:
        if not DOMAIN.match(domain) or domain.startswith(("http:", "https:")):
            raise ValueError(
                f'{domain!r} is no host: write hosts separated by commas, such as "claude.ai,'
                'localhost"'
            )
    if not value:
        raise ValueError('it is empty: name at least one host, such as "claude.ai"')
    return value


def _clients(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        entries = json.loads(value)
    except ValueError:
        entries = None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ValueError(
            'it is no JSON list of clients, such as [{"client_id": "my-app", "redirect_uris":'
            ' ["http://localhost/callback"]}]'
        )
    return tuple(entries)


def _networks(value: tuple[str, ...]) -> tuple[str, ...]:
    for text in value:
        network(text)
    return value


Words = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_comma_separated)]
Folder = Annotated[Path, AfterValidator(_folder)]
Entries = tuple[dict[str, Any], ...]
Seconds = Annotated[int, Field(ge=1, le=10 * 365 * 24 * 60 * 60)]


class Settings(BaseSettings):
    """The settings of one server; every field is `MCP_` and its name in capitals."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore", env_ignore_empty=True)

    public_url: Annotated[str, AfterValidator(_public_url)]
    password: Annotated[str, AfterValidator(_password)] | None = Field(None, repr=False)
    host: Annotated[str, Field(min_length=1, max_length=255)] = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65535)]
    state_dir: Annotated[Folder, Field(validate_default=True)] = Path(".oauth-state")
    data_dir: Annotated[Folder, Field(validate_default=True)] = Path("data")
    access_token_expiry_seconds: Seconds = 30 * 24 * 60 * 60  # 30 days
    allowed_redirect_domains: Annotated[Words, AfterValidator(_domains)]
    clients: Annotated[Entries, NoDecode, BeforeValidator(_clients)] = Field((), repr=False)
    client_documents: bool = True
    storage_url: Annotated[str, AfterValidator(check_url)] | None = Field(None, repr=False)
    trusted_proxies: Annotated[Words, AfterValidator(_networks)] = ()
    log_format: Literal["text", "json"] = "text"
    responses: Literal["json", "sse"] = "json"
    notify_url: Annotated[str, AfterValidator(check_webhook)] | None = Field(None, repr=False)
    require_volumes: bool = False
    trail_days: Annotated[int, Field(ge=0, le=10 * 365)] = 90
    trail_megabytes: Annotated[int, Field(ge=1, le=1024 * 1024)] = 32
    trail_arguments: Words = ()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Lets the environment win over what `load` hands in: `.env` and the answers."""
        return env_settings, init_settings

    @field_validator("clients")
    @classmethod
    def _clients_can_be_used(cls, value: Entries, info: ValidationInfo) -> Entries:
        by_the_owner(value, info.data.get("allowed_redirect_domains"))
        return value

    @model_validator(mode="after")
    def _local_url_follows_the_port(self) -> Settings:
        given = answers()
        untouched = self.public_url == given["public_url"] == f"http://localhost:{given['port']}"
        if untouched and self.port != given["port"]:
            self.public_url = _on_this_computer(self.port)
        return self


def load() -> Settings:
    """Returns the settings.

    Raises:
        SettingRefused: One of them is malformed, weak, misspelt, or contradicts another.
    """
    file = env_file()
    try:
        _refuse_misspelt(file)
        given = {name.removeprefix(PREFIX).lower(): text for name, text in written(file)}
        settings = Settings(**(_from_answers() | given))
    except ValidationError as error:
        raise SettingRefused(_sentence(error)) from None
    except UnicodeDecodeError:
        raise SettingRefused(f"{file} is not UTF-8 text: save it as UTF-8.") from None
    state, data = settings.state_dir.resolve(), settings.data_dir.resolve()
    if state == data or state in data.parents:
        raise SettingRefused(
            "MCP_DATA_DIR must not lie inside MCP_STATE_DIR, which holds the connections:"
            ' choose another folder, such as "data".'
        )
    if data in state.parents:
        raise SettingRefused(
            "MCP_STATE_DIR must not lie inside MCP_DATA_DIR, which tools read and backups copy:"
            ' choose a folder for each, such as "state" and "data".'
        )
    return settings


def publish() -> None:
    """Puts what `.env` says into the environment, for the tools, as a container does it."""
    for name, text in written(env_file()):
        os.environ.setdefault(name, text)
    load_dotenv(env_file(), encoding="utf-8")


def url_difference(settings: Settings) -> str | None:
    """Returns the sentence about a public URL of which docs/ and deploy/ say something else."""
    urls = (settings.public_url, answers()["public_url"])
    if urls[0] == urls[1]:
        return None
    if all(url.startswith("http://localhost") for url in urls):
        here = _on_this_computer(settings.port)
        if urls[0] == here or settings.require_volumes:  # a container's port has another outside
            return None
        return (
            f"MCP_PUBLIC_URL, in .env or the environment, is {urls[0]}, and the server listens at"
            f" {here}: remove the setting."
        )
    return (
        f"MCP_PUBLIC_URL, in .env or the environment, is {urls[0]}, the project's answers say"
        f" {urls[1]}. If the answers are right, remove the setting. If the setting is right, run"
        " this, so that docs/ and deploy/ agree: uvx copier update --defaults --data"
        f' public_url="{urls[0]}"'
    )


@lru_cache(maxsize=1)
def data_dir() -> Path:
    """Returns the folder for what tools keep (`MCP_DATA_DIR`); it may not exist yet."""
    return load().data_dir


def domains_of(clients: Iterable[str]) -> tuple[str, ...]:
    """Returns the redirect domains for which some answers to the question `clients` stand."""
    domains = [domain for client in clients for domain in CLIENT_DOMAINS[client]]
    return tuple(dict.fromkeys(domains))


def _on_this_computer(port: int) -> str:
    return f"http://localhost:{port}".removesuffix(":80")


def _from_answers() -> dict[str, Any]:
    given = answers()
    return {
        "public_url": given["public_url"],
        "port": given["port"],
        "allowed_redirect_domains": domains_of(given["clients"]),
        "trusted_proxies": () if given["tunnel"] == "none" else LOOPBACK,
    }


def _refuse_misspelt(file: Path) -> None:
    known = [PREFIX + name.upper() for name in Settings.model_fields]
    for name in (binding.key or "" for binding in bindings(file)):
        if name.startswith(PREFIX) and name not in known:
            close = difflib.get_close_matches(name, known, 1, 0)[0]
            raise SettingRefused(f"{name} in {file} is no setting: did you mean {close}?")
    for name in os.environ:  # other programs have settings of this prefix too
        close_ones = difflib.get_close_matches(name, known, 1, 0.85)
        if close_ones and name not in known:
            raise SettingRefused(f"{name} is no setting: did you mean {close_ones[0]}?")


PLAINLY = {  # where pydantic speaks to programmers
    "int_parsing": "write a whole number",
    "bool_parsing": "write true or false",
    "greater_than_equal": "write {ge} or more",
    "less_than_equal": "write {le} or less",
}


def _sentence(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    name = PREFIX + str(first["loc"][0]).upper()
    plainly = PLAINLY.get(first["type"])
    told = plainly.format(**first.get("ctx", {})) if plainly else first["msg"]
    message = told.removeprefix("Value error, ").rstrip(".")
    return f"{name} is refused: {message}."
