"""An OAuth 2.1 authorization server for one person's FastMCP server.

    from personal_auth import PersonalAuthProvider

    auth = PersonalAuthProvider(base_url="https://mcp.example.com")
    mcp = FastMCP(name="my-server", auth=auth)

Nobody gets a token without the owner's proof on the owner's own page.
"""

from personal_auth.errors import StartRefused
from personal_auth.limits import Limits
from personal_auth.provider import PersonalAuthProvider
from personal_auth.remote import open_store
from personal_auth.version import __version__

__all__ = ["Limits", "PersonalAuthProvider", "StartRefused", "__version__", "open_store"]
