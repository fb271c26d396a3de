"""Writes the list of what the template ships: the SHA-256 of each file that it keeps current.

A project carries it as `src/personal_server/shipped.sha256`, so that its server can name the files
that were changed there; `sha256sum --check` reads it too. A file that is copied as it is gets its
hash here; of one that is rendered, Jinja takes the hash of what it renders for that project.
"""

import argparse
import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
LIST = "src/personal_server/shipped.sha256.jinja"
UNLISTED = {LIST, "{{_copier_conf.answers_file}}.jinja"}  # one cannot name itself, one is Copier's
CONDITION = re.compile(r"\{% if (.+?) %\}(.+?)\{% endif %\}")  # as in a path under template/
HEAD = """\
{# Written by scripts/shipped.py. #}
{% macro sha256(source) %}
{% set text %}
{% include source %}
{% endset %}
{{ text | hash('sha256') }}
{%- endmacro %}
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; tell if it is stale")
    file = ROOT / "template" / LIST
    text = HEAD + "".join(map(line, paths()))
    if not parser.parse_args().check:
        file.write_text(text, "utf-8")
    elif not file.is_file() or file.read_text("utf-8") != text:
        print(f"template/{LIST} is stale: run `make shipped`.", file=sys.stderr)
        return 1
    return 0


def paths() -> list[str]:
    """Return the path, under `template`, of each file that every update renders anew."""
    listing = ["git", "ls-files", "-co", "--exclude-standard", "-z", "--", "template"]
    names = subprocess.run(listing, cwd=ROOT, check=True, capture_output=True).stdout.decode()
    files = {Path(name) for name in names.split("\0") if (ROOT / name).is_file()}
    shipped = sorted({str(path.relative_to("template")) for path in files} - UNLISTED)
    not_ours = theirs()
    return [path for path in shipped if not rendered(path).startswith(not_ours)]


def theirs() -> tuple[str, ...]:
    """Return how the paths begin that belong to the person, or that both write."""
    table = yaml.safe_load((ROOT / "copier.yml").read_text("utf-8"))["ownership"]["default"]
    rows = table["seed"] | table["shared"]
    return tuple(row.replace("PACKAGE", "{{package_name}}") for row in rows)


def rendered(path: str) -> str:
    """Return the path in a project that has the file."""
    return CONDITION.sub(r"\2", path).removesuffix(".jinja")


def line(path: str) -> str:
    """Return a line of the list, within the conditions under which a project has the file."""
    if path.endswith(".jinja"):
        value = f"{{{{ sha256({json.dumps('template/' + path)}) }}}}"
    else:
        value = hashlib.sha256((ROOT / "template" / path).read_bytes()).hexdigest()
    text = f"{value}  {rendered(path)}\n"
    for condition, _ in CONDITION.findall(path):
        text = f"{{% if {condition} %}}\n{text}{{% endif %}}\n"
    return text


if __name__ == "__main__":
    sys.exit(main())
