"""The file of a backup: a gzip-compressed tar that is written and read as a stream.

Its members, in this order: `manifest.json`, the state, what tools keep, and `SHA256SUMS` over all
of them in the form that sha256sum(1) reads. Only files and folders are in it, with GNU's long
names. `VERSION` grows only when an older server would misread the file.

The reader is its own, for Python's takes as much memory as a header asks for, and follows links.
The sums find damage; they prove nothing against whoever wants to deceive.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import re
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, BinaryIO, cast

FORMAT = "personal-server-backup"
VERSION = 1
MANIFEST, STATE, DATA, SUMS = "manifest.json", "state/oauth_tokens.json", "data", "SHA256SUMS"

BLOCK = tarfile.BLOCKSIZE
CHUNK = 256 * 1024
MANIFEST_BYTES = 64 * 1024
LONGEST_NAME = 4096  # Linux's longest path
MOST_LEVELS = 200  # of folders in a name: what walks through them calls itself for each
MOST_MEMBERS = 1_000_000
SPARE_BYTES = 64 * 1024  # zeros that may follow the end
COMPRESSION = 6
LONG_NAME, FILE, FOLDER = tarfile.GNUTYPE_LONGNAME, tarfile.REGTYPE, tarfile.DIRTYPE
ENCODING = {"encoding": "utf-8", "errors": "surrogateescape"}  # any name that a file may have
PARTS = re.compile(r"[^/\0]+(?:/[^/\0]+)*\Z")


class BackupRefused(Exception):
    """A backup cannot be made or restored; the message is the one sentence its owner reads."""


@dataclass(frozen=True)
class Manifest:
    """What is said of a backup before it is read; `made` is a POSIX time."""

    id: str
    made: int
    server: str
    writer: str
    public_url: str
    connections: int


@dataclass(frozen=True, slots=True)
class Member:
    """A file or a folder; `mtime` is a POSIX time, `mode` has the nine permission bits."""

    name: str
    size: int = 0
    mode: int = 0o600
    mtime: float = 0.0
    folder: bool = False


class Writer:
    """Writes a backup; nothing of it can be used before `close`."""

    def __init__(self, out: BinaryIO, manifest: Manifest) -> None:
        self._zip = gzip.GzipFile(fileobj=out, mode="wb", compresslevel=COMPRESSION, mtime=0)
        self._sums = tempfile.SpooledTemporaryFile(1024 * 1024)  # noqa: SIM115
        document = {"format": FORMAT, "version": VERSION, **asdict(manifest)}
        self.add_bytes(MANIFEST, json.dumps(document, indent=2).encode() + b"\n", manifest.made)

    def add_bytes(self, name: str, raw: bytes, mtime: float) -> None:
        """Adds a small file."""
        self.add(Member(name, len(raw), mtime=mtime), io.BytesIO(raw))

    def add(self, member: Member, content: BinaryIO | None = None) -> None:
        """Adds a folder, or a file with exactly as many bytes as its member says."""
        info = tarfile.TarInfo(member.name)
        info.size, info.mode, info.mtime = member.size, member.mode, int(member.mtime)
        info.type = FOLDER if member.folder else FILE
        self._zip.write(info.tobuf(tarfile.GNU_FORMAT, **ENCODING))
        if content is None:
            return
        digest, left = hashlib.sha256(), member.size
        while left:
            chunk = content.read(min(CHUNK, left))
            if not chunk:
                raise EOFError(member.name)
            digest.update(chunk)
            self._zip.write(chunk)
            left -= len(chunk)
        self._zip.write(bytes(-member.size % BLOCK))
        self._sums.write(_line(member.name, digest.hexdigest()))

    def close(self) -> None:
        """Writes the sums and the end; what was given to the constructor stays open."""
        size = self._sums.tell()
        self._sums.seek(0)
        with self._sums as sums:
            self.add(Member(SUMS, size), cast(BinaryIO, sums))
        self._zip.write(bytes(2 * BLOCK))
        self._zip.close()


class Reader:
    """Reads a backup once, from its beginning to its end."""

    def __init__(self, raw: BinaryIO) -> None:
        """Reads the manifest.

        Raises:
            BackupRefused: It is no backup, a later server made it, or it is damaged.
        """
        self._zip = gzip.GzipFile(fileobj=raw, mode="rb")
        self._sums, self._sums_size = hashlib.sha256(), 0
        self._left = self._padding = 0
        self._begun = False
        self.manifest = self._manifest()
        self._begun = True

    def members(self) -> Iterator[Member]:
        """Yields what follows; of a file, `content` must be read before the next one.

        Only when it has ended by itself, the backup was whole.

        Raises:
            BackupRefused: The backup is damaged, or not one of ours.
        """
        for _ in range(MOST_MEMBERS):
            member = self._next()
            if member.name == SUMS:
                self._check_sums(member)
                return
            yield member
            if self._left:
                raise ValueError(f"{member.name} was not read")
        raise self._foreign()

    def content(self, member: Member) -> Iterator[bytes]:
        """Yields the bytes of the file at which `members` stands."""
        digest = hashlib.sha256()
        for chunk in self._body():
            digest.update(chunk)
            yield chunk
        line = _line(member.name, digest.hexdigest())
        self._sums.update(line)
        self._sums_size += len(line)

    def _manifest(self) -> Manifest:
        member = self._next()
        if member.name != MANIFEST or member.size > MANIFEST_BYTES:
            raise self._foreign()
        try:
            document: dict[str, Any] = json.loads(b"".join(self.content(member)))
            if document.pop("format") != FORMAT:
                raise self._foreign()
            version, writer = document.pop("version"), shown(str(document["writer"]))
            if type(version) is not int or version < 1:
                raise self._foreign()
            if version > VERSION:
                raise BackupRefused(
                    f"This backup has format version {version}, made by version {writer} of the"
                    f" server, and this one reads up to {VERSION}: update this server to that"
                    " version or a later one, then restore."
                )
            kinds = Manifest.__annotations__
            known = {name: document[name] for name in kinds}
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise self._foreign() from None
        if any(type(known[name]).__name__ != kind for name, kind in kinds.items()):
            raise self._foreign()
        return Manifest(**known)

    def _next(self) -> Member:
        info = self._header()
        name = info.name
        if info.type == LONG_NAME:
            if not 0 < info.size <= LONGEST_NAME + 1:
                raise self._foreign()
            self._left, self._padding = info.size, -info.size % BLOCK
            name = b"".join(self._body()).rstrip(b"\0").decode(**ENCODING)
            info = self._header()
        folder = info.type == FOLDER
        if not (folder or info.type == FILE) or info.size < 0 or (folder and info.size):
            raise self._foreign()
        if folder:
            name = name.rstrip("/")
        parts = name.split("/")
        if not PARTS.match(name) or {".", ".."} & set(parts) or len(name) > LONGEST_NAME:
            raise self._foreign()
        if len(parts) > MOST_LEVELS:
            raise self._foreign()
        self._left, self._padding = info.size, -info.size % BLOCK
        return Member(name, info.size, info.mode & 0o777, info.mtime, folder)

    def _header(self) -> tarfile.TarInfo:
        block = self._read(BLOCK)
        try:
            return tarfile.TarInfo.frombuf(block, **ENCODING)
        except tarfile.HeaderError:
            raise self._damaged() if self._begun else self._foreign() from None

    def _body(self) -> Iterator[bytes]:
        while self._left:
            chunk = self._read(min(CHUNK, self._left))
            self._left -= len(chunk)
            yield chunk
        self._read(self._padding)
        self._padding = 0

    def _read(self, size: int) -> bytes:
        try:
            raw = self._zip.read(size)
            while len(raw) < size:
                more = self._zip.read(size - len(raw))
                if not more:
                    raise EOFError
                raw += more
        except (EOFError, zlib.error, gzip.BadGzipFile):
            raise self._damaged() if self._begun else self._foreign() from None
        return raw

    def _check_sums(self, member: Member) -> None:
        digest = hashlib.sha256()
        for chunk in self._body():
            digest.update(chunk)
        if (member.size, digest.digest()) != (self._sums_size, self._sums.digest()):
            raise self._damaged()
        self._read(2 * BLOCK)
        try:  # to the end, where gzip's own sum stands
            if self._zip.read(SPARE_BYTES).strip(b"\0") or self._zip.read(1):
                raise self._damaged()
        except (EOFError, zlib.error, gzip.BadGzipFile):
            raise self._damaged() from None

    def _damaged(self) -> BackupRefused:
        return BackupRefused(
            "This backup is damaged or was cut off, and nothing was restored: take another copy of"
            " it, or an older backup."
        )

    def _foreign(self) -> BackupRefused:
        return BackupRefused(
            "This is no backup of a server like this one, and nothing was restored: give the file"
            " that `backup` has made."
        )


def shown(text: str) -> str:
    """Returns a text as one line that can do nothing to a terminal."""
    return "".join(c if c.isprintable() else "?" for c in text)[:200]


def _line(name: str, digest: str) -> bytes:
    escaped = name.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
    mark = "\\" if escaped != name else ""
    return f"{mark}{digest}  {escaped}\n".encode("utf-8", "surrogateescape")
