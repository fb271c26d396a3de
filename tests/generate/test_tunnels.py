"""Each answer to `tunnel` brings one way to the server, which its program would accept."""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jinja2
import pytest
import yaml

from tests.generate.answer_sets import CHOICES
from tests.generate.conftest import Render
from tests.generate.ownership import CONFIGURATION
from tests.generate.test_deploy_files import COMPOSE_SCHEMA, YAMLLINT, lint, load
from tests.generate.tunnels import cloudflared_faults, ngrok_faults, tailscale_faults
from tests.journeys.compose import filled_in

URL = "https://mcp.example.com"
WAYS = CHOICES["tunnel"]
IN_A_CONTAINER = ("cloudflared", "ngrok", "tailscale")
HEADINGS = {
    "cloudflared": "Cloudflare Tunnel",
    "caddy": "Caddy",
    "nginx": "nginx",
    "ngrok": "ngrok",
    "tailscale": "Tailscale Funnel",
    "none": "A proxy or tunnel of your own",
}
SECRETS = {"cloudflared": "TUNNEL_TOKEN", "ngrok": "NGROK_AUTHTOKEN", "tailscale": "TS_AUTHKEY"}
FILES = {
    "cloudflared": "deploy/cloudflared/config.yml",
    "ngrok": "deploy/ngrok/ngrok.yml",
    "tailscale": "deploy/tailscale/serve.json",
}
FAULTS = {
    "cloudflared": cloudflared_faults,
    "ngrok": ngrok_faults,
    "tailscale": tailscale_faults,
}
Mistake = Callable[[dict[str, Any]], Any]


def settings_of(project: Path, **environment: str) -> dict[str, str]:
    """Returns what Compose sets for the server, with its variables filled in."""
    given = load(project / "compose.yml")["services"]["server"]["environment"]
    return {name: filled_in(str(value), environment) for name, value in given.items()}


def guide(project: Path) -> str:
    return (project / "docs/deploying.md").read_text()


def with_address(render: Render, way: str) -> Path:
    return render(public_url=URL, **({} if way == "cloudflared" else {"tunnel": way}))


@pytest.fixture
def project(render: Render, way: str) -> Path:
    """A project with one of the answers, and an address."""
    return with_address(render, way)


@pytest.fixture
def local(render: Render, way: str) -> Path:
    """A project that has no address yet, another port, and another name than at its birth."""
    return render(tunnel=way, port="9000", project_name="chef", package_name="kitchen_helper")


@pytest.mark.parametrize("way", IN_A_CONTAINER)
def test_its_program_would_accept_its_configuration(project: Path, local: Path, way: str) -> None:
    for each in (project, local):
        configuration = yaml.safe_load((each / FILES[way]).read_text())

        assert FAULTS[way](configuration) == []


MISTAKES: list[tuple[str, Mistake, str]] = [
    ("cloudflared", lambda c: c.update(ingres=[]), "no key ingres"),
    ("cloudflared", lambda c: c["ingress"][0].update(host="a"), "a rule has no key host"),
    ("cloudflared", lambda c: c.update(originRequest={"noTlsVerify": True}), "no key noTlsVerify"),
    ("cloudflared", lambda c: c["ingress"].pop(), "the last rule"),
    ("cloudflared", lambda c: c["ingress"].reverse(), "the last rule"),
    ("cloudflared", lambda c: c["ingress"][0].pop("hostname"), "and no other"),
    ("cloudflared", lambda c: c["ingress"][1].update(path="/mcp"), "the last rule"),
    ("cloudflared", lambda c: c["ingress"][0].update(service="server:8050"), "no scheme"),
    ("cloudflared", lambda c: c["ingress"][0].update(service="http://a/mcp"), "has a path"),
    ("cloudflared", lambda c: c["ingress"][1].update(service="http_status:x"), "is no status"),
    ("cloudflared", lambda c: c["ingress"][0].update(hostname="a.b:443"), "has a port"),
    ("cloudflared", lambda c: c["ingress"][0].update(hostname="a.*.b"), "a wildcard within"),
    (
        "cloudflared",
        lambda c: c["ingress"][0].update(originRequest={"connectTimeout": 30}),
        "is no duration",
    ),
    ("ngrok", lambda c: c.update(authtoken="x"), "the configuration has no key authtoken"),
    ("ngrok", lambda c: c["agent"].update(inspect_db=0), "agent has no key inspect_db"),
    ("ngrok", lambda c: c["endpoints"][0].update(addr=80), "an endpoint has no key addr"),
    ("ngrok", lambda c: c["endpoints"][0]["upstream"].update(port=1), "upstream has no key"),
    ("ngrok", lambda c: c["endpoints"][0].pop("url"), "an endpoint has no url"),
    ("ngrok", lambda c: c.update(version=2), "not 3"),
    ("tailscale", lambda c: c.update(Funnel={}), "no key Funnel"),
    ("tailscale", lambda c: c["TCP"].update({"444": {"HTTPS": True}}), "no port 444"),
    ("tailscale", lambda c: c["TCP"]["443"].update(Https=True), "a port has no key Https"),
    ("tailscale", lambda c: c["TCP"].pop("443"), "is not served"),
    ("tailscale", lambda c: c["AllowFunnel"].update({"a:8443": True}), "a:8443 is not served"),
]


@pytest.mark.parametrize(("way", "make", "fault"), MISTAKES, ids=[m[2] for m in MISTAKES])
def test_a_mistake_in_a_configuration_is_found(
    project: Path, way: str, make: Mistake, fault: str
) -> None:
    configuration = yaml.safe_load((project / FILES[way]).read_text())

    make(configuration)

    assert fault in "; ".join(FAULTS[way](configuration))


@pytest.mark.parametrize("way", ["cloudflared", "ngrok"])
def test_the_tunnel_is_told_the_host_or_a_placeholder(project: Path, local: Path, way: str) -> None:
    for each in (project, local):
        text = (each / FILES[way]).read_text()
        assert re.findall(r"(?:hostname|url): (?:https://)?(\S+\.com)$", text, re.MULTILINE) == [
            "mcp.example.com"
        ]
        assert ("IS A PLACEHOLDER" in text) == (each == local)


@pytest.mark.parametrize(
    ("url", "port"), [(URL, "443"), ("https://a.b.ts.net:8443", "8443"), (f"{URL}:9443", "443")]
)
def test_funnel_listens_at_the_port_of_the_address_if_it_can(
    render: Render, url: str, port: str
) -> None:
    project = render(public_url=url, tunnel="tailscale")

    served = json.loads((project / FILES["tailscale"]).read_text())
    tunnel = load(project / "compose.yml")["services"]["tunnel"]

    assert list(served["TCP"]) == [port]
    assert served["AllowFunnel"] == {f"${{TS_CERT_DOMAIN}}:{port}": True}
    assert tunnel["environment"]["TS_HOSTNAME"] == ("a" if ".ts.net" in url else "my-server")


@pytest.mark.parametrize("way", ["cloudflared"])
def test_the_tunnel_keeps_its_name_when_the_project_gets_another(local: Path, way: str) -> None:
    assert load(local / FILES[way])["tunnel"] == "kitchen-helper"
    assert "credentials.json kitchen-helper\n" in guide(local)
    assert "route dns kitchen-helper mcp.example.com\n" in guide(local)


@pytest.mark.parametrize("way", IN_A_CONTAINER)
def test_the_tunnel_leads_to_the_server_by_its_name_and_port(local: Path, way: str) -> None:
    services = load(local / "compose.yml")["services"]
    configuration = (local / FILES[way]).read_text()

    assert re.findall(r"http://[^\s\"]+", configuration) == ["http://server:9000"]
    assert "network_mode" not in services["tunnel"]
    assert "networks" not in services["tunnel"] | services["server"]  # so both are on the default
    assert ("`http://server:9000`" in guide(local)) == (way == "cloudflared")  # for the dashboard


@pytest.mark.parametrize("way", IN_A_CONTAINER)
def test_the_tunnel_finds_the_file_that_it_is_told_to_read(project: Path, way: str) -> None:
    tunnel = load(project / "compose.yml")["services"]["tunnel"]

    mounts = [volume.split(":") for volume in tunnel["volumes"] if volume.startswith("./")]
    told = json.dumps([tunnel.get("command"), tunnel["environment"]])

    [(here, there, mode)] = mounts
    assert mode == "ro"
    name = Path(FILES[way]).name
    assert (project / here / name).is_file()
    assert f'"{there}/{name}"' in told


def test_the_tunnel_comes_only_when_asked_for_twice(render: Render) -> None:
    for way in WAYS:
        services = load(with_address(render, way) / "compose.yml")["services"]
        assert ("tunnel" in services) == (way in IN_A_CONTAINER)
        if way in IN_A_CONTAINER:
            assert services["tunnel"]["profiles"] == ["tunnel"]


@pytest.mark.parametrize("way", WAYS)
def test_its_own_files_come_and_no_others(project: Path, way: str) -> None:
    folders = {path.name for path in (project / "deploy").glob("*")} & set(WAYS)

    assert folders <= {way}
    assert way not in FILES or (project / FILES[way]).is_file()


@pytest.mark.parametrize("way", IN_A_CONTAINER)
def test_the_secret_of_the_tunnel_is_a_setting_that_the_server_does_not_get(
    project: Path, way: str
) -> None:
    services = load(project / "compose.yml")["services"]
    secret = SECRETS[way]

    assert services["tunnel"]["environment"][secret] == f"${{{secret}:-}}"
    assert services["server"]["environment"][secret] == ""  # wins over .env
    assert f"\n#{secret}=" in (project / ".env.example").read_text()
    assert "env_file" not in services["tunnel"]


@pytest.mark.parametrize("way", WAYS)
def test_whatever_compose_asks_of_the_environment_is_explained(project: Path, way: str) -> None:
    asked = set(re.findall(r"(?<!\$)\$\{(\w+)", (project / "compose.yml").read_text()))

    explained = set(re.findall(r"^#?(\w+)=", (project / ".env.example").read_text(), re.MULTILINE))
    assert "SERVER_NETWORK" in asked
    assert asked <= explained


def test_compose_is_well_formed_with_every_way(render: Render) -> None:
    projects = [with_address(render, way) for way in WAYS]

    lint("check-jsonschema", *COMPOSE_SCHEMA, *[p / "compose.yml" for p in projects], folder=Path())
    lint("yamllint", "--strict", "-d", YAMLLINT, *projects, folder=Path())


@pytest.mark.parametrize("way", WAYS)
def test_the_container_can_do_nothing_but_lead(project: Path, way: str) -> None:
    for service in load(project / "compose.yml")["services"].values():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]


@pytest.mark.parametrize("way", WAYS)
def test_the_server_believes_the_network_of_its_tunnel_and_what_the_owner_adds(
    project: Path, way: str
) -> None:
    pools = load(project / "compose.yml")["networks"]["default"]["ipam"]["config"]

    usual = settings_of(project)
    chosen = settings_of(project, SERVER_NETWORK="172.31.255.0/24", MCP_TRUSTED_PROXIES="192.0.2.7")

    assert pools == [{"subnet": "${SERVER_NETWORK:-10.31.114.0/24}"}]
    assert "10.31.114.0/24" in guide(project)
    if way == "none":  # nobody knows what comes: the owner says it
        assert "MCP_TRUSTED_PROXIES" not in usual
        assert "MCP_TRUSTED_PROXIES=10.31.114.0/24" in guide(project)
    else:
        assert usual["MCP_TRUSTED_PROXIES"] == "10.31.114.0/24,"
        assert chosen["MCP_TRUSTED_PROXIES"] == "172.31.255.0/24,192.0.2.7"


def test_each_port_has_a_private_network_of_its_own() -> None:
    network = jinja2.Template(CONFIGURATION["network"]["default"])
    ports = [*range(1024, 65536, 257), 65535]

    networks = [ipaddress.ip_network(network.render(port=str(port))) for port in ports]

    assert len(set(networks)) == len(ports)
    assert all(each.is_private and each.prefixlen == 24 for each in networks)


@pytest.mark.parametrize("way", WAYS)
def test_the_guide_tells_one_way_and_how_to_take_another(project: Path, way: str) -> None:
    text = guide(project)

    headings = re.findall(r"^## (.+)$", text, re.MULTILINE)

    assert headings == [
        HEADINGS[way],
        "As a service, without a container",
        "Whose word on an address counts",
        "Another way to your server",
    ]
    assert "uvx copier update --defaults --data tunnel=" in text
    assert f"uv run verify.py {URL}" in text
    assert "\n\n\n" not in text


def test_the_guide_says_what_must_be_off_at_cloudflare(render: Render) -> None:
    text = guide(with_address(render, "cloudflared"))

    rules = re.findall(r"^ +(\(http\.host .+\))$", text, re.MULTILINE)

    assert rules == [
        '(http.host eq "mcp.example.com")',
        '(http.host eq "mcp.example.com" and (ip.src in {160.79.104.0/21} or http.user_agent'
        ' contains "Claude-User" or http.user_agent contains "openai-mcp"))',
    ]
    for path in ("/mcp", "/.well-known/", "/authorize", "/token", "/register", "/revoke"):
        assert f"`{path}`" in text
    for word in ("Bypass", "Bot Fight Mode", "Block AI bots", "Super Bot Fight Mode", "Skip"):
        assert word in text


def test_each_guide_shows_an_override_that_compose_understands(
    render: Render, tmp_path: Path
) -> None:
    overrides = {way: tmp_path / f"{way}.yml" for way in IN_A_CONTAINER}
    for way, override in overrides.items():
        [shown] = re.findall(r"```yaml\n(.+?)```", guide(with_address(render, way)), re.DOTALL)
        override.write_text(shown)

    lint("check-jsonschema", *COMPOSE_SCHEMA, *overrides.values(), folder=tmp_path)

    for way, override in overrides.items():
        ours = load(with_address(render, way) / "compose.yml")["services"]["tunnel"]
        [(key, theirs)] = load(override)["services"]["tunnel"].items()
        name = Path(FILES[way])
        as_ours = json.loads(json.dumps(theirs).replace(f"mine{name.suffix}", name.name))
        assert as_ours != theirs
        assert ours[key] == (as_ours if key == "command" else ours[key] | as_ours)


def test_the_key_of_a_tunnel_stays_out_of_the_repository(render: Render) -> None:
    ignored = (render() / ".gitignore").read_text().splitlines()

    assert {"/deploy/cloudflared/*.json", "/deploy/cloudflared/*.pem", ".env"} <= set(ignored)
