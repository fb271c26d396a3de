#!/bin/sh
# Installs Debian packages when that is possible, otherwise says in one line what is missing.
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "Missing: $*. Install it with your package manager (Debian: sudo apt-get install $*), and try again." >&2
    exit 1
fi
echo "Installing $* ..."
apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "$@" >/dev/null
