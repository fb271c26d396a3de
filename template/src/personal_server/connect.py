"""The exact configuration for each client, for one public URL."""

from __future__ import annotations

import json

ANSWERS = {
    "Claude (web, Desktop, mobile)": "claude",
    "ChatGPT": "chatgpt",
    "Cursor": "cursor",
    "VS Code": "vscode",
}


def instructions(name: str, public_url: str, chosen: list[str]) -> dict[str, str]:
    """Returns, by client, what to enter where; one that was not chosen says how to add it."""
    texts = _instructions(name, public_url)
    for client in texts:
        answer = ANSWERS.get(client, "local")
        if answer not in chosen:
            all_of_them = ", ".join([*chosen, answer])
            texts[client] = (
                "Not among your clients, so its sign-in is refused. To add it:\n"
                f"uvx copier update --defaults --data 'clients=[{all_of_them}]'"
            )
    return texts


def _instructions(name: str, public_url: str) -> dict[str, str]:
    url = f"{public_url}/mcp"
    if not public_url.startswith("https://"):
        hosted = f"needs an address on the internet; {public_url} is only on this computer"
    else:
        hosted = ""
    desktop = {"mcpServers": {name: {"command": "npx", "args": ["-y", "mcp-remote", url]}}}
    cursor = {"mcpServers": {name: {"url": url}}}
    vscode = {"servers": {name: {"type": "http", "url": url}}}
    codex = f"codex mcp add {name} --url {url}\ncodex mcp login {name}"
    return {
        "Claude (web, Desktop, mobile)": hosted
        or f"Settings > Connectors > Add custom connector\nName: {name}\nURL:  {url}\n"
        "Mobile apps show it by themselves.",
        "Claude Desktop with mcp-remote": "claude_desktop_config.json:\n"
        + json.dumps(desktop, indent=2),
        "Claude Code": f"claude mcp add --transport http {name} {url}\nthen /mcp to sign in",
        "ChatGPT": hosted
        or f"Settings > Apps & Connectors > Advanced > Developer mode, then Create\nURL:  {url}\n"
        "Authentication: OAuth",
        "Cursor": "~/.cursor/mcp.json:\n" + json.dumps(cursor, indent=2),
        "VS Code": ".vscode/mcp.json:\n" + json.dumps(vscode, indent=2),
        "Codex": codex,
        "Gemini CLI": f"gemini mcp add --transport http {name} {url}",
        "MCP Inspector": "npx @modelcontextprotocol/inspector\n"
        f"Transport: Streamable HTTP\nURL:  {url}",
    }
