"""Whether this project is in order: its settings, its tools, and what an update would meet."""

from __future__ import annotations

import asyncio
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from personal_auth import StartRefused, __version__
from personal_auth.errors import StoreUnavailable
from personal_auth.remote import named, reach
from personal_server import app, shipped, trail_kept, webhook
from personal_server.settings import (
    SettingRefused,
    Settings,
    answers,
    load,
    project_root,
    url_difference,
)
from personal_server.tools import ToolRefused

ANSWERS = ".copier-answers.yml"  # not in the image, which holds src/ and pyproject.toml alone
COMMIT = 'git init && git add -A && git commit -m "My MCP server"'
MARKED = "^(<<<<<<<|>>>>>>>) "
BRING_BACK = "uvx copier recopy --defaults --overwrite --vcs-ref :current: -x '*'"


@dataclass(frozen=True)
class Finding:
    """What was looked at; where something is to be mended, with the cure."""

    text: str
    cure: str = ""


def examine() -> list[Finding]:
    """Returns what was found; nothing is changed, and nothing but the store is asked."""
    root = project_root()
    if not (root / ANSWERS).is_file():
        return [_module(), *_server(), *_files(shipped.changed(root), [])]
    marked = (_git(root, "grep", "-lE", MARKED) or "").splitlines()
    changed = [path for path in shipped.changed(root) if path not in marked]
    return [
        _release(root),
        _module(),
        *_server(),
        *_conflicts(root, marked),
        *_files(changed, shipped.gone(root)),
        *_git_is_ready(root),
    ]


def report(findings: list[Finding]) -> str:
    """Returns the findings as text, and below each fault its cure."""
    lines = []
    for finding in findings:
        lines.append(f"{'TO MEND' if finding.cure else 'ok'}: {finding.text}")
        lines += [f"    {line}" for line in finding.cure.splitlines()]
    faults = sum(bool(finding.cure) for finding in findings)
    last = f"{faults} to mend." if faults else "All is in order here; verify.py looks from outside."
    return "\n".join([*lines, "", last])


def _release(root: Path) -> Finding:
    commit = re.search(
        r"^_commit: *(\S+)$", (root / ANSWERS).read_text("utf-8", "replace"), re.MULTILINE
    )
    which = commit[1] if commit else "of a template without releases"
    return Finding(f"release {which}; `uvx copier check-update` says whether there is a newer one")


def _module() -> Finding:
    return Finding(f"personal_auth {__version__}")


def _server() -> Iterator[Finding]:
    try:
        settings = load()
    except (SettingRefused, StartRefused) as error:
        yield Finding("the settings are refused, and the server does not start", str(error))
        return
    yield Finding(f"the settings: {settings.public_url}/mcp on port {settings.port}")
    if difference := url_difference(settings):
        yield Finding("the public URL is not the one in docs/ and deploy/", difference)
    yield _believed(settings)
    yield _told(settings)
    if settings.storage_url is not None:
        yield _store(settings.storage_url, settings.state_dir)
    yield _tools(settings)


def _believed(settings: Settings) -> Finding:
    if settings.trusted_proxies or settings.public_url.startswith("http:"):
        proxies = ", ".join(settings.trusted_proxies) or "nobody"
        return Finding(f"in X-Forwarded-For it believes {proxies}")
    return Finding(
        "nobody is named whose X-Forwarded-For it may believe",
        f"Name what leads {settings.public_url} to this server in MCP_TRUSTED_PROXIES, as in"
        " docs/deploying.md: until then strangers and you count as one address.",
    )


def _told(settings: Settings) -> Finding:
    if settings.notify_url is None:
        return Finding("nobody is told of what is new; MCP_NOTIFY_URL names a webhook for it")
    return Finding(
        f"what is new is told to {webhook.named(settings.notify_url)}; `notify` sends a trial word"
    )


def _store(url: str, state_dir: Path) -> Finding:
    try:
        asyncio.run(reach(url, state_dir))
    except (StoreUnavailable, StartRefused) as error:
        return Finding("the state cannot be reached, and nobody is let in", str(error))
    return Finding(f"{named(url)} answers")


def _tools(settings: Settings) -> Finding:
    try:
        alone = settings.model_copy(update={"storage_url": None})  # it was looked at before
        server = app.build(alone)
        tools = asyncio.run(server.list_tools())
        trail_kept.check_named(server, settings)
    except (ToolRefused, StartRefused, SettingRefused) as error:
        return Finding("the tools are refused, and the server does not start", str(error))
    return Finding(f"{len(tools)} tools in src/{answers()['package_name']}")


def _conflicts(root: Path, marked: list[str]) -> Iterator[Finding]:
    if marked:
        yield Finding(
            "an update left two versions of the same lines" + _listed(marked),
            'docs/troubleshooting.md, "The update had conflicts", says which to keep.',
        )
    if rejected := (_git(root, "ls-files", "-co", "*.rej") or "").splitlines():
        yield Finding(
            "an update found no place for lines of yours" + _listed(rejected),
            "Put the lines into the file of the same name without .rej, and delete the .rej file.",
        )


def _files(changed: list[str], gone: list[str]) -> Iterator[Finding]:
    if not shipped.listed():
        yield Finding(
            "the list of the template's files is gone or damaged", _bring_back([shipped.PATH])
        )
    elif not changed:
        yield Finding("no file that the template keeps current was changed here")
    else:
        yield Finding(
            "files that the template keeps current were changed here" + _listed(changed),
            "An update ends in a conflict where it changes the same lines, and loses the change"
            " without a word where it moves or removes the file.\ndocs/updating.md says where your"
            f" changes are safe. This brings the shipped files back:\n{_bring_back(changed)}",
        )
    if code := [path for path in gone if path.startswith("src/")]:
        yield Finding("code of the template is gone" + _listed(code), _bring_back(code))
    if others := [path for path in gone if path not in code]:
        yield Finding("deleted here, and left so by an update" + _listed(others))


def _bring_back(paths: list[str]) -> str:
    return " ".join([BRING_BACK, *(f"-x '!/{path}'" for path in paths)])


def _git_is_ready(root: Path) -> Iterator[Finding]:
    if _git(root, "--version") is None:
        yield Finding("git is not here, and an update needs it", "Install git.")
    elif _git(root, "rev-parse", "--verify", "HEAD") is None:
        yield Finding(
            "git shows no commit here, and an update needs one to start from",
            f"{COMMIT}\nWhere there is a commit already, `git status` says what is in its way.",
        )
    elif (_git(root, "config", "status.showUntrackedFiles") or "").strip() in {"no", "false"}:
        yield Finding(
            "git does not show new files here, so an update may lose lines without a conflict",
            "git config status.showUntrackedFiles normal",
        )


def _git(root: Path, *arguments: str) -> str | None:
    """Returns what git says, or None when it fails, finds nothing or is not there."""
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=root, capture_output=True, text=True, check=False
        )
    except OSError:
        return None
    return done.stdout if done.returncode == 0 else None


def _listed(paths: list[str]) -> str:
    return "".join([":", *(f"\n    {path}" for path in paths)])
