#!/bin/sh
# Installs the programs that some tests need and says in one line what is skipped without them.
set -u
missing=
lack() { command -v "$1" >/dev/null || missing="$missing $2"; }

lack chromium "chromium fonts-dejavu-core"
lack redis-server redis-server
[ "$(id -u)" != 0 ] || { lack mount mount && lack mkfs.ext4 e2fsprogs; }
ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || command -v initdb >/dev/null || missing="$missing postgresql"

[ -z "$missing" ] && exit 0
# shellcheck disable=SC2086 # one word a package
sh "$(dirname "$0")/install-debian.sh" $missing || echo "Skipped: the tests that need$missing; the summary names each."
