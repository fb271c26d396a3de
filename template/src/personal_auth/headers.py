"""A request's headers, read once: by them every request of anybody's is examined."""

from __future__ import annotations

from starlette.types import Scope


class Headers(dict[bytes, bytes]):
    """The headers of a request by their names in lower case; of one sent twice, the first."""

    sent: list[tuple[bytes, bytes]]
    """All of them in their order."""

    @classmethod
    def of(cls, scope: Scope) -> Headers:
        sent = list(scope["headers"])
        headers = cls(reversed(sent))
        headers.sent = sent
        return headers

    def text(self, name: bytes) -> str | None:
        """Returns a header's value; None when there is none."""
        value = self.get(name)
        return None if value is None else value.decode("latin-1")

    def only(self, name: bytes) -> str | None:
        """Returns the value of a header that was sent once; None when it was not."""
        if len(self) < len(self.sent) and len(self.every(name)) > 1:
            return None
        return self.text(name)

    def every(self, name: bytes) -> list[str]:
        """Returns the values of a header in their order."""
        return [value.decode("latin-1") for key, value in self.sent if key == name]
