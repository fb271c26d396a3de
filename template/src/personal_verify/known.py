"""What is known of MCP and its clients: addresses, revisions, and how clients call themselves."""

from __future__ import annotations

NAME = "verify.py"  # what the owner's list of connections shows while it runs

HANDSHAKE = "2025-11-25"  # the newest revision that begins with `initialize`
OLDER = ("2025-06-18", "2025-03-26")  # what clients send that were not renewed for a while
STATELESS = "2026-07-28"  # asks `server/discover` and describes itself in every request
METHOD_NOT_FOUND = -32601
HEADER_MISMATCH = -32020  # a header does not repeat what the body says

SERVER_METADATA = "/.well-known/oauth-authorization-server"
OPENID = "/.well-known/openid-configuration"
RESOURCE_METADATA = "/.well-known/oauth-protected-resource"

LOOPBACK = "http://127.0.0.1:8912/callback"  # nobody has to listen there: no redirect is followed
CLAUDE = "https://claude.ai/api/mcp/auth_callback"
CLAUDE_DOCUMENT = "https://claude.ai/oauth/mcp-oauth-client-metadata"
FOREIGN = "https://stranger.example/callback"
CALLBACKS = (
    LOOPBACK,
    CLAUDE,
    "https://chatgpt.com/connector_platform_oauth_redirect",
    "https://vscode.dev/redirect",
    "https://www.cursor.com/agents/mcp/oauth/callback",
)

BROWSER = (
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko)"
    " Chrome/142.0.0.0 Safari/537.36"
)
CLIENT = "python-httpx/0.28.1"  # what Claude's servers call themselves while they sign in
AGENTS = {
    "Claude-User": "Claude",
    "openai-mcp/1.0.0": "ChatGPT",
    "node": "mcp-remote and VS Code",
    CLIENT: "the sign-in of Claude",
}
