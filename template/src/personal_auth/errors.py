"""What can be refused, as one tree: a stable code for programs, a safe sentence for people.

What decides over access raises one of these, so a forgotten check cannot pass. No
description ever carries a token, a code, a password or text that a caller chose freely; the host
of a redirect URI, in letters, digits, dots and hyphens, is the most that a caller puts into one.
"""

from __future__ import annotations


class StartRefused(Exception):
    """The server must not start; the message is the one sentence its owner reads."""


class StateDirLost(OSError):
    """The state directory is not the one whose lock this process holds; the message says so."""


class Refused(Exception):
    """A request is refused; `code` and `status` follow RFC 6749 §5.2 unless a subclass says so."""

    code = "invalid_request"
    status = 400

    def __init__(self, description: str) -> None:
        super().__init__(description)
        self.description = description


class InvalidRequest(Refused):
    """A parameter is missing, repeated, too long or malformed."""


class RequestTooLarge(Refused):
    """The body or the request line exceeds its bound."""

    status = 413


class RequestTooSlow(Refused):
    """The body did not arrive within its bound."""

    status = 408


class InvalidClient(Refused):
    """The client is unknown or not authenticated: the sign for clients to register anew."""

    code = "invalid_client"
    status = 401


class InvalidDocument(InvalidClient):
    """What a client id that is a URL leads to does not describe a client."""


class DocumentUnavailable(Refused):
    """A client's metadata document cannot be fetched now."""

    code = "temporarily_unavailable"
    status = 503
    retry_after = 5

    def __init__(
        self,
        description: str = "The app's metadata document cannot be fetched now: try again, and see"
        " whether this server may reach other hosts by https.",
    ) -> None:
        super().__init__(description)


class InvalidGrant(Refused):
    """The code or refresh token is unknown, used, expired, revoked or somebody else's."""

    code = "invalid_grant"


class InvalidScope(Refused):
    """A refresh asks for more than was granted (RFC 6749 §6)."""

    code = "invalid_scope"


class InvalidTarget(Refused):
    """`resource` names another resource than this server's (RFC 8707 §2)."""

    code = "invalid_target"


class UnsupportedGrantType(Refused):
    """`grant_type` is neither authorization_code nor refresh_token."""

    code = "unsupported_grant_type"


class InvalidRedirectUri(Refused):
    """A redirect URI may not receive a code (RFC 7591 §3.2.2)."""

    code = "invalid_redirect_uri"


class RedirectNotAllowed(InvalidRedirectUri):
    """The redirect URI is well-formed and registered, and not on the owner's list."""


class InvalidClientMetadata(Refused):
    """A registration cannot be accepted (RFC 7591 §3.2.2)."""

    code = "invalid_client_metadata"


class InvalidToken(Refused):
    """The bearer token opens nothing (RFC 6750 §3.1)."""

    code = "invalid_token"
    status = 401


class TicketRefused(Refused):
    """A consent page came back altered, late, or from another browser than it was made for."""


class WrongPassword(Refused):
    """The password is not the owner's."""

    code = "access_denied"
    status = 403


class PasswordUnfit(Refused):
    """A new password cannot be taken."""


class WrongPasskey(Refused):
    """What a browser sent does not prove that the owner's passkey was used for this page."""

    code = "access_denied"
    status = 403


class TooManyAttempts(Refused):
    """A wait is in force; `retry_after` gives it in whole seconds."""

    code = "temporarily_unavailable"
    status = 429

    def __init__(self, description: str, retry_after: int) -> None:
        super().__init__(description)
        self.retry_after = retry_after


class StoreUnavailable(Refused):
    """The state cannot be read or written now; the same request may succeed in a few seconds."""

    code = "temporarily_unavailable"
    status = 503
    retry_after = 5

    def __init__(
        self,
        description: str = "The server cannot reach its state now. Try again in a few seconds.",
    ) -> None:
        super().__init__(description)


class NotOnDisk(StoreUnavailable):
    """A change of the one file is not on disk; it holds all the same, unless it gives (`Put`)."""
