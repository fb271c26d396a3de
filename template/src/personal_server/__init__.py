"""The server around the tools: settings, commands, discovery of tools, and the app itself."""

import sys
from importlib.util import find_spec

_auth = find_spec("personal_auth")
if _auth is not None and _auth.submodule_search_locations is None:  # one file, not our package
    print(
        f"{_auth.origin} is imported in place of this project's src/personal_auth, so its sign-in"
        " would decide who gets in: remove that file, or rename it.",
        file=sys.stderr,
    )
    sys.exit(2)
