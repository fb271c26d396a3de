#!/bin/sh
# Installs the programs that some tests need and says in one line what is skipped without them.
set -u
missing=
lack() { command -v "$1" >/dev/null || missing="$missing $2"; }

lack chromium "chromium fonts-dejavu-core"
lack redis-server redis-server
lack pgbouncer pgbouncer
lack caddy caddy
lack nginx nginx-light
lack curl curl
lack systemd-analyze systemd
lack ss iproute2
lack lsof lsof
[ "$(id -u)" != 0 ] || { lack mount mount && lack mkfs.ext4 e2fsprogs; }
for program in buildah podman runc iptables mmdebstrap; do lack "$program" "$program"; done
ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || command -v initdb >/dev/null || missing="$missing postgresql"

# shellcheck disable=SC2086 # one word a package
[ -z "$missing" ] || sh "$(dirname "$0")/install-debian.sh" $missing ||
    echo "Skipped: the tests that need$missing; the summary names each."

# Debian 12 has only a docker-compose that is too old for compose.yml; the program of Debian 13 needs nothing beside it.
bin=$(dirname "$0")/../.venv/bin
if ! command -v docker-compose >/dev/null && [ ! -x "$bin/docker-compose" ] && command -v mmdebstrap >/dev/null; then
    echo "Unpacking docker-compose ..."
    unpacked=$(mktemp -d)
    mmdebstrap --quiet --variant=extract --include=docker-compose trixie "$unpacked" >/dev/null 2>&1 &&
        cp "$unpacked/usr/libexec/docker/cli-plugins/docker-compose" "$bin/docker-compose" ||
        echo "Skipped: the tests that need docker-compose; the summary names each."
    rm -rf "$unpacked"
fi

clients=$(dirname "$0")/../tests/clients
installed=$clients/node_modules/.package-lock.json
if [ ! -e "$installed" ] || [ "$clients/package-lock.json" -nt "$installed" ]; then
    echo "Installing the clients that others wrote (about 1 GB) ..."
    # None of their install scripts is run: all that the tests need lies in the packages themselves.
    PATH=$(cd "$(dirname "$0")/../.venv/bin" && pwd):$PATH npm ci --prefix "$clients" \
        --ignore-scripts --no-audit --no-fund --loglevel=error >/dev/null &&
        touch "$installed" ||
        echo "Skipped: the tests that need the clients of tests/clients/package.json; the summary names each."
fi
