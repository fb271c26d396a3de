"""Answers that are refused, each with the sentence that the person reads."""

NAME = "Try my-server: 2 to 40 small letters, digits and single dashes, beginning with a letter"
PACKAGE = (
    "Try my_server: 2 to 40 small letters, digits and single underscores, beginning with a letter"
)
LINE = (
    "Try My personal MCP server: one line of 1 to 200 visible characters, without spaces at its"
    " ends"
)
PORT = "Try 8050: a port is a number from 1024 to 65535"
HTTPS = (
    "Try https://mcp.example.com with your own domain: an address begins with https:// in small"
    " letters"
)
HOST = (
    "Try https://mcp.example.com: only the domain, in small letters (an international one as"
    " xn--...), without user or question mark"
)
PATH = (
    "Try https://mcp.example.com without a slash or a path behind it: clients add /mcp themselves"
)
PLAIN = (
    "Try http://localhost:8050, or https://mcp.example.com with your own domain: plain http works"
    " only on this computer"
)
HTTPS_PORT = "Try https://mcp.example.com: the default port is left out, and none is above 65535"
HTTP_PORT = "Try http://localhost:8050: the default port is left out, and none is above 65535"
PREFIX = "Try vault: 2 to 16 small letters and digits, beginning with a letter"
CLIENTS = "Try [claude, local]: a list in brackets, of claude, chatgpt, cursor, vscode, local"
NO_CLIENT = "Choose at least one client, as in [claude, local]"
EXAMPLES = "Try [notes]: a list in brackets, of notes, postgres, hello"
TUNNEL = "Try cloudflared: the choices are cloudflared, caddy, nginx, ngrok, tailscale, none"
STORAGE = "Try file: the choices are file, redis, postgres"
GITHUB = "Try true: the answer is yes or no"
TAKEN = "a module, package or command that the server needs is called {} already"
BUILT_IN = "assistants take {} for a feature of their own and pass over your tools"


def _taken(question: str, names: str, example: str) -> list[tuple[str, object, str]]:
    reason = BUILT_IN if question == "tool_prefix" else TAKEN
    return [
        (question, name, f"Try {example}{name}: {reason.format(name)}") for name in names.split()
    ]


REFUSALS: list[tuple[str, object, str]] = [
    *[
        ("project_name", name, NAME)
        for name in (
            "",
            "a",
            "A",
            "My-Server",
            "my_server",
            "my server",
            "my.server",
            "-my-server",
            "my-server-",
            "my--server",
            "1server",
            "sérver",
            "мой-сервер",
            "x" * 41,
            "my-server\n",
            "my-server;ls",
            "../my-server",
            "{{ 7 * 7 }}",
            "$(id)",
        )
    ],
    *_taken("project_name", "json class match async true distutils annotationlib imp", "my-"),
    *_taken("project_name", "fastmcp mcp redis asyncpg psycopg webauthn pydantic-core", "my-"),
    *_taken("project_name", "httpx2 jinja2 pyyaml python-multipart pytest ruff uvicorn", "my-"),
    *_taken("project_name", "personal-auth personal-server tests src docs deploy data", "my-"),
    *_taken("project_name", "python uv git sitecustomize verify", "my-"),
    *[
        ("description", text, LINE)
        for text in (
            "",
            " ",
            " x",
            "x ",
            "\u00a0x",
            "x" * 201,
            "a\nb",
            "a\n",
            "a\tb",
            "a\rb",
            "a\x00b",
            "a\x1bb",
            "a\x7fb",
            "a\x85b",
            "a\u00adb",
            "a\u200bb",
            "a\u200fb",
            "a\u202eb",
            "a\u2066b",
            "a\u2028b",
            "a\ufeffb",
            "a\ufffeb",
            "a\U000e0041b",
        )
    ],
    *[
        ("port", port, PORT)
        for port in (
            "",
            "0",
            "80",
            "1023",
            "65536",
            "123456",
            "-8050",
            "+8050",
            "08050",
            "8050.0",
            "8_050",
            " 8050",
            "8050\n",
            "0x1f72",
            "８０５０",
            "soon",
            80,
            8050.5,
        )
    ],
    *[
        ("public_url", url, HTTPS)
        for url in (
            "",
            "mcp.example.com",
            "//mcp.example.com",
            "ftp://mcp.example.com",
            "HTTPS://mcp.example.com",
            " https://mcp.example.com",
            "javascript:alert(1)",
        )
    ],
    *[
        ("public_url", url, PLAIN)
        for url in (
            "http://",
            "http://mcp.example.com",
            "http://192.168.1.2:8050",
            "http://0.0.0.0:8050",
            "http://localhost.example.com",
            "http://127.0.0.1.example.com",
            "http://localhost@example.com",
            "http://LOCALHOST:8050",
            "http://localhost:8050/",
            "http://localhost:8050/mcp",
            "http://localhost:08050",
        )
    ],
    *[
        ("public_url", url, PATH)
        for url in (
            "https://mcp.example.com/",
            "https://mcp.example.com/mcp",
            "https://mcp.example.com//",
        )
    ],
    *[
        ("public_url", url, HOST)
        for url in (
            "https://",
            "https://mcp.example.com?x=1",
            "https://mcp.example.com#x",
            "https://me:secret@mcp.example.com",
            "https://MCP.example.com",
            "https://mcp.example.com.",
            "https://mcp..example.com",
            "https://-mcp.example.com",
            "https://mcp-.example.com",
            "https://my_mcp.example.com",
            "https://bücher.example",
            "https://mcp.example.com\n",
            "https://mcp.example.com ",
            "https://mcp.example.com\\@evil.com",
            "https://mcp%2eexample.com",
            "https://mcp。example.com",
            "https://1.2.3",
            "https://1.2.3.256",
            "https://0x7f.0.0.1",
            "https://2130706433",
            "https://[::1]",
            "https://mcp.example.com:",
            "https://mcp.example.com:0443",
            "https://" + ".".join(["x" * 60] * 4),
        )
    ],
    ("public_url", "https://mcp.example.com:443", HTTPS_PORT),
    ("public_url", "https://mcp.example.com:65536", HTTPS_PORT),
    ("public_url", "http://localhost:80", HTTP_PORT),
    ("public_url", "http://localhost:99999", HTTP_PORT),
    *[
        ("tool_prefix", prefix, PREFIX)
        for prefix in (
            "",
            "a",
            "Vault",
            "vault_",
            "my-vault",
            "1vault",
            "x" * 17,
            "vault\n",
            "größe",
        )
    ],
    *_taken("tool_prefix", "memory search web file files artifact artifacts project", "my"),
    *_taken("tool_prefix", "projects conversation conversations tool tools mcp server", "my"),
    *_taken("tool_prefix", "canvas terminal codebase browser claude chatgpt fetch", "my"),
    *[
        ("clients", clients, CLIENTS)
        for clients in (
            "",
            "claude",
            "claude, local",
            "[claude",
            "[claude; local]",
            "[claude local]",
            "[Claude]",
            "[claude, netscape]",
            "{claude: local}",
            "null",
            ["netscape"],
            [1],
            7,
        )
    ],
    *[("clients", nobody, NO_CLIENT) for nobody in ("[]", "[ ]", [])],
    *[("examples", examples, EXAMPLES) for examples in ("notes", "[poems]", "", ["poems"], 7)],
    *[("tunnel", tunnel, TUNNEL) for tunnel in ("", "Cloudflared", "[none]", "pigeon", True)],
    *[("storage", storage, STORAGE) for storage in ("", "File", "floppy")],
    *[
        ("package_name", name, PACKAGE)
        for name in ("", "a", "My_Server", "my-server", "_my", "my_", "my__server", "1x", "x" * 41)
    ],
    *_taken(
        "package_name",
        "json class fastmcp key_value personal_auth personal_server personal_verify",
        "my_",
    ),
    *_taken("package_name", "tests src docs", "my_"),
    *[("github", answer, GITHUB) for answer in ("", "maybe", "2", "[true]")],
]
