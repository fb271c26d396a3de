"""What the makers of clients publish about them, each at its own https URL (November 2026)."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlsplit

from tests.support.publisher import Publisher

CLAUDE = "https://claude.ai/oauth/mcp-oauth-client-metadata"
CLAUDE_CODE = "https://claude.ai/oauth/claude-code-client-metadata"
CHATGPT = "https://chatgpt.com/oauth/client.json"
CHATGPT_ONE_CALLBACK = "https://chatgpt.com/oauth/c4llb4ckid/client.json"
CODEX = "https://chatgpt.com/oauth/codex/client.json"
CURSOR = "https://cursor.com/oauth/mcp-client.json"
VSCODE = "https://vscode.dev/oauth/client-metadata.json"
PYTHON = "https://python.example/client.json"  # of a program with one of the Python clients

BY_CODE: dict[str, Any] = {
    "grant_types": ["authorization_code", "refresh_token"],
    "response_types": ["code"],
    "token_endpoint_auth_method": "none",
}
OF_CHATGPT: dict[str, Any] = {
    **BY_CODE,
    "client_name": "ChatGPT",
    "client_uri": "https://chatgpt.com/",
    "logo_uri": "https://persistent.oaistatic.com/sonic/misc/openai-logo.png",
    "token_endpoint_auth_method": "private_key_jwt",
    "token_endpoint_auth_methods_supported": ["none", "private_key_jwt"],
    "token_endpoint_auth_signing_alg": "RS256",
    "jwks_uri": "https://chatgpt.com/oauth/jwks.json",
}

DOCUMENTS: dict[str, dict[str, Any]] = {
    CLAUDE: {
        **BY_CODE,
        "client_name": "Claude",
        "client_uri": "https://claude.ai",
        "redirect_uris": ["https://claude.ai/api/mcp/auth_callback"],
        "grant_types": [*BY_CODE["grant_types"], "urn:ietf:params:oauth:grant-type:jwt-bearer"],
    },
    CLAUDE_CODE: {
        **BY_CODE,
        "client_name": "Claude Code",
        "client_uri": "https://claude.ai",
        "redirect_uris": ["http://localhost/callback", "http://127.0.0.1/callback"],
    },
    CHATGPT: {
        **OF_CHATGPT,
        "redirect_uris": ["https://chatgpt.com/connector_platform_oauth_redirect"],
    },
    CHATGPT_ONE_CALLBACK: {
        **OF_CHATGPT,
        "redirect_uris": ["https://chatgpt.com/connector/oauth/c4llb4ckid"],
    },
    CODEX: {
        **BY_CODE,
        "client_name": "Codex",
        "redirect_uris": ["http://127.0.0.1/callback", "http://localhost/callback"],
    },
    CURSOR: {
        **BY_CODE,
        "client_name": "Cursor",
        "redirect_uris": [
            "https://www.cursor.com/agents/mcp/oauth/callback",
            "https://www.cursor.com/bot/mcp/oauth/callback",
            "https://grok.com/connectors-oauth-exchange-code/",
            "http://localhost:8787/callback",
            "http://127.0.0.1:8787/callback",
        ],
    },
    VSCODE: {
        **BY_CODE,
        "client_name": "Visual Studio Code",
        "client_uri": "https://vscode.dev/product",
        "logo_uri": "https://code.visualstudio.com/assets/branding/code-stable.png",
        "redirect_uris": ["http://127.0.0.1:33418/", "https://vscode.dev/redirect"],
        "grant_types": [*BY_CODE["grant_types"], "urn:ietf:params:oauth:grant-type:device_code"],
        "application_type": "native",
    },
    PYTHON: {
        **BY_CODE,
        "client_name": "A program in Python",
        "redirect_uris": ["http://localhost/callback"],
    },
}
HOSTS = sorted({urlsplit(url).netloc for url in DOCUMENTS})


def publish_all(publisher: Publisher) -> None:
    """Publishes every document at its path; one program stands for all the hosts."""
    assert len({urlsplit(url).path for url in DOCUMENTS}) == len(DOCUMENTS)
    for url, document in DOCUMENTS.items():
        publisher.answer(urlsplit(url).path, json.dumps({"client_id": url, **document}).encode())
