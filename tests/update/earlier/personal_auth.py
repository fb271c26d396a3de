"""The single file with which such servers were made: whoever asks is approved.

It stands in for the module that `docs/adopting.md` retires, and keeps its state as that does: whole
tokens in one JSON file. The redirect URI's host is taken for the gate; the password is never asked
for.
"""

import json
import secrets
import time
from pathlib import Path
from urllib.parse import urlsplit

from fastmcp.server.auth.auth import ClientRegistrationOptions
from fastmcp.server.auth.providers.in_memory import InMemoryOAuthProvider
from mcp.server.auth.provider import AccessToken, AuthorizeError, RefreshToken
from mcp.shared.auth import OAuthClientInformationFull, OAuthToken

KINDS = {
    "clients": OAuthClientInformationFull,
    "access_tokens": AccessToken,
    "refresh_tokens": RefreshToken,
}


class PersonalAuthProvider(InMemoryOAuthProvider):
    def __init__(
        self,
        base_url,
        password=None,
        allowed_redirect_domains=("claude.ai", "claude.com", "localhost"),
        access_token_expiry_seconds=30 * 24 * 60 * 60,
        state_dir=".oauth-state",
    ):
        super().__init__(
            base_url=base_url,
            client_registration_options=ClientRegistrationOptions(enabled=True),
        )
        self.password = password
        self.domains = allowed_redirect_domains
        self.life = access_token_expiry_seconds
        self.file = Path(state_dir) / "oauth_tokens.json"
        self._load_state()

    def _load_state(self):
        if not self.file.exists():
            return
        stored = json.loads(self.file.read_text())
        for name, kind in KINDS.items():
            found = {key: kind.model_validate(data) for key, data in stored.get(name, {}).items()}
            setattr(self, name, found)
        self._access_to_refresh_map = stored.get("a2r", {})
        self._refresh_to_access_map = stored.get("r2a", {})

    def _save_state(self):
        state = {
            name: {key: each.model_dump(mode="json") for key, each in getattr(self, name).items()} for name in KINDS
        }
        state |= {"a2r": self._access_to_refresh_map, "r2a": self._refresh_to_access_map}
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self.file.write_text(json.dumps(state, indent=2))

    async def register_client(self, client_info):
        await super().register_client(client_info)
        self._save_state()

    async def authorize(self, client, params):
        host = urlsplit(str(params.redirect_uri)).hostname
        if self.domains is not None and host not in self.domains:
            raise AuthorizeError("access_denied", f"{host} is not allowed.")
        return await super().authorize(client, params)

    async def exchange_authorization_code(self, client, authorization_code):
        self.auth_codes.pop(authorization_code.code)
        return self._issue(client.client_id, authorization_code.scopes)

    async def exchange_refresh_token(self, client, refresh_token, scopes):
        self._revoke_internal(refresh_token_str=refresh_token.token)
        return self._issue(client.client_id, scopes)

    async def revoke_token(self, token):
        await super().revoke_token(token)
        self._save_state()

    def _issue(self, client_id, scopes):
        access, refresh = f"pat_{secrets.token_hex(32)}", f"prt_{secrets.token_hex(32)}"
        common = {"client_id": client_id, "scopes": scopes}
        expires = int(time.time()) + self.life
        self.access_tokens[access] = AccessToken(token=access, expires_at=expires, **common)
        self.refresh_tokens[refresh] = RefreshToken(token=refresh, expires_at=None, **common)
        self._access_to_refresh_map[access] = refresh
        self._refresh_to_access_map[refresh] = access
        self._save_state()
        return OAuthToken(access_token=access, expires_in=self.life, refresh_token=refresh, scope=" ".join(scopes))
