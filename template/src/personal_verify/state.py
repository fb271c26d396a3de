"""Does a connection survive a restart of the server?"""

from __future__ import annotations
