"""What a container keeps lies on volumes: the rest of its files goes when it is replaced.

Linux says in `/proc/self/mountinfo` what is mounted where; proc(5) has its fields. A folder that
lies on the root file system, or in memory, is lost. `MCP_REQUIRE_VOLUMES` asks for this check;
the image sets it.
"""

from __future__ import annotations

import re
from pathlib import Path

from personal_server.settings import SettingRefused, Settings, answers

MOUNTS = Path("/proc/self/mountinfo")
IN_MEMORY = {"tmpfs", "ramfs"}


def check(settings: Settings, mounts: Path = MOUNTS) -> None:
    """Returns when the state and the data outlive this container, or nobody asks.

    Raises:
        SettingRefused: One of them would be lost; the sentence says how to mount a volume there.
    """
    if not settings.require_volumes:
        return
    kept = {"data": settings.data_dir}
    if settings.storage_url is None:  # else the connections are kept elsewhere
        kept = {"state": settings.state_dir} | kept
    try:
        mounted = _mounted(mounts.read_text("utf-8", "surrogateescape"))
    except OSError as error:
        raise SettingRefused(
            f"MCP_REQUIRE_VOLUMES is true, and {mounts} cannot be read ({error.strerror}): set it"
            " to false where there is no Linux."
        ) from None
    lost = {what: folder for what, folder in kept.items() if not _outlives(folder, mounted)}
    if not lost:
        return
    package = answers()["package_name"]
    flags = [f"-v {package}_{what}:{folder}" for what, folder in lost.items()]
    raise SettingRefused(
        f"No volume is mounted at {' and '.join(map(str, lost.values()))}, so what is kept there"
        f" would go with this container: start it by `docker compose up -d`, or add"
        f" {' '.join(flags)} to `docker run`; MCP_REQUIRE_VOLUMES=false starts it all the same."
    )


def _outlives(folder: Path, mounted: dict[Path, str]) -> bool:
    place = folder.resolve()
    at = next(path for path in (place, *place.parents) if path in mounted or path == path.parent)
    return at != at.parent and mounted[at] not in IN_MEMORY


def _mounted(text: str) -> dict[Path, str]:
    """Returns the type of file system at each mount point; of several at one, the last counts."""
    found = {}
    for line in text.splitlines():
        left, _, right = line.partition(" - ")
        place = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), left.split(" ")[4])
        found[Path(place)] = right.split(" ")[0]
    return found
