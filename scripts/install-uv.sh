#!/bin/sh
# Puts uv into .venv/bin/uv and a Python beside it, with whatever this system has. Each way is tried after the one before.
set -u

with_uv_on_path() {
    found=$(command -v uv) || return 1
    "$found" venv --quiet --allow-existing --python ">=3.11" .venv && ln -sf "$found" .venv/bin/uv
}

with_venv_and_pip() {
    python3 -m venv .venv 2>/dev/null && .venv/bin/python -m pip install --quiet 'uv>=0.9,<1'
}

with_the_systems_pip() {
    python3 -m venv --without-pip .venv 2>/dev/null &&
        python3 -m pip --python .venv/bin/python install --quiet 'uv>=0.9,<1' 2>/dev/null
}

with_debian_packages() {
    sh scripts/install-debian.sh python3-venv 2>/dev/null && with_venv_and_pip
}

if ! python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    echo "Python 3.11 or newer is needed as python3: install it, or put uv on the PATH." >&2
    command -v uv >/dev/null || exit 1
fi
with_uv_on_path || with_venv_and_pip || with_the_systems_pip || with_debian_packages || {
    echo "uv could not be installed: put uv on the PATH, or install the Debian package python3-venv, and try again." >&2
    exit 1
}
test -x .venv/bin/uv
