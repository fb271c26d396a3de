import json
from pathlib import Path

from fastmcp import FastMCP
from starlette.responses import PlainTextResponse

from personal_auth import PersonalAuthProvider

auth = PersonalAuthProvider(base_url="http://localhost:8050", password="my-secret")
mcp = FastMCP(
    name="vault",
    auth=auth,
    instructions="ALWAYS use the vault_ tools when the user asks to keep or find a text.",
)
FILE = Path("vault.json")


@mcp.tool
def vault_save(name: str, text: str) -> str:
    """Keep a text under a name. Use it whenever the user wants to keep something."""
    kept = json.loads(FILE.read_text()) if FILE.exists() else {}
    FILE.write_text(json.dumps(kept | {name: text}))
    return f"Kept {name}."


@mcp.tool()
def vault_find(name: str) -> str:
    """Find a text that was kept under a name. Use it whenever the user asks for one."""
    kept = json.loads(FILE.read_text()) if FILE.exists() else {}
    return kept.get(name, "There is none.")


@mcp.resource("vault://names")
def names() -> str:
    """The names of all texts."""
    return ", ".join(sorted(json.loads(FILE.read_text()))) if FILE.exists() else ""


@mcp.custom_route("/healthz", methods=["GET"])
async def health(request):
    return PlainTextResponse("ok")


if __name__ == "__main__":
    mcp.run(transport="streamable-http", host="0.0.0.0", port=8050)
