"""A request's headers, read once: by them every request of anybody's is examined."""

from __future__ import annotations

from starlette.types import Scope


class Headers(dict[bytes, bytes]):
    """The headers of a request by their names in lower case; of one sent twice, the first."""

    @classmethod
    def of(cls, scope: Scope) -> Headers:
        return cls(reversed(list(scope["headers"])))

    def text(self, name: bytes) -> str | None:
        """Returns a header's value; None when there is none."""
        value = self.get(name)
        return None if value is None else value.decode("latin-1")

    def only(self, name: bytes, scope: Scope) -> str | None:
        """Returns the value of a header that was sent once; None when it was not."""
        if len(self) < len(scope["headers"]) and len(every(scope, name)) > 1:
            return None
        return self.text(name)


def every(scope: Scope, name: bytes) -> list[str]:
    """Returns the values of a header in their order."""
    return [value.decode("latin-1") for key, value in scope["headers"] if key == name]
