"""The sets of answers with which the template is rendered: each choice, and what strains it."""

from typing import Any

DEFAULTS: dict[str, Any] = {
    "project_name": "my-server",
    "description": "My personal MCP server",
    "port": "8050",
    "public_url": "http://localhost:8050",
    "clients": ["claude", "local"],
    "tool_prefix": "myserver",
    "tunnel": "cloudflared",
    "examples": ["notes"],
    "storage": "file",
    "package_name": "my_server",
    "github": True,
}

# Every choice that a question offers. tests/generate/test_questions.py holds copier.yml to it.
CHOICES: dict[str, list[str]] = {
    "clients": ["claude", "chatgpt", "cursor", "vscode", "local"],
    "tunnel": ["cloudflared", "caddy", "nginx", "ngrok", "tailscale", "none"],
    "examples": ["notes", "postgres", "hello"],
    "storage": ["file", "redis", "postgres"],
}

DESCRIPTIONS = {
    "double quotes": '"quoted" and """tripled"""',
    "single quotes": "it's 'quoted' and '''tripled'''",
    "backslashes": "C:\\new\\table \\u0041 \\\\ ends with \\",
    "a Jinja expression": "{{ project_name }} and {{ 1 / 0 }}",
    "a Jinja statement": "{% if true %}yes{% endif %} {# no #}",
    "braces": "{prefix} {0} {} }} {{",
    "dollars": "$HOME ${HOME} $$ ${UNSET:?no} $(id) `id`",
    "percent": "100% %s %(name)s %%",
    "a hash sign": "# not a comment # at all",
    "a colon": "key: value, - item, [list], {map}, *alias, &anchor, !tag, | >, @at",
    "emoji": "Notes 📝 of a family 👨‍👩‍👧‍👦 and ❤️",
    "other scripts": "Ελληνικά 日本語 العربية עברית हिन्दी ไทย",
    "200 characters": "x" * 200,
    "200 wide characters": "好" * 200,
    "dashes": "--- leading and trailing ---",
    "YAML's null": "null",
    "YAML's yes": "yes",
    "a number": "8050",
    "HTML": "<script>alert('x')</script> &amp; <!-- -->",
    "a single letter": "x",
    "comment signs": "// /* */ -- ; rem",
    "two spaces": "one  two   three",
}

ANSWER_SETS: dict[str, dict[str, Any]] = {
    "the defaults": {},
    "every choice": {name: CHOICES[name] for name in ("clients", "examples")},
    "no example": {"examples": []},
    "hello alone": {"examples": ["hello"]},
    "postgres alone": {"examples": ["postgres"]},
    "no tunnel": {"tunnel": "none"},
    "no GitHub": {"github": False},
    "the least of everything": {
        "clients": ["local"],
        "examples": [],
        "tunnel": "none",
        "github": False,
    },
    "a public address": {"public_url": "https://mcp.example.com"},
    "a public address without a tunnel": {
        "public_url": "https://mcp.example.com:8443",
        "tunnel": "none",
    },
    **{
        f"{tunnel} before a public address": {
            "public_url": "https://mcp.example.com",
            "tunnel": tunnel,
        }
        for tunnel in CHOICES["tunnel"]
        if tunnel not in {"cloudflared", "none"}
    },
    "an IPv6 loopback": {"public_url": "http://[::1]:9000", "port": "9000"},
    "the state in Redis": {"storage": "redis"},
    "the state in PostgreSQL": {"storage": "postgres"},
    "a short name": {"project_name": "ab"},
    "a long name": {"project_name": "-".join(["a" * 13] * 2 + ["a" * 12])},
    "another package": {"project_name": "kitchen-helper", "package_name": "recipes2"},
    **{f"for {client} alone": {"clients": [client]} for client in CHOICES["clients"]},
    **{f"described with {name}": {"description": text} for name, text in DESCRIPTIONS.items()},
}
