#!/bin/sh
# Boots the systemd of this machine as another machine's: with its own processes, mounts, /etc, /opt, /run and /var/lib.
# It knows no unit but those that the caller puts into /etc/systemd/system and $UNITS. Ends when it is killed.
set -eu

mount --make-rprivate /
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t proc proc /proc
mount -t tmpfs -o mode=755 tmpfs /run
mount -t tmpfs -o mode=755 tmpfs /var/lib

mount -t tmpfs -o mode=755 tmpfs "$WORK"
mkdir "$WORK/etc" "$WORK/opt"
cp -a /etc/. "$WORK/etc"
rm -rf "$WORK/etc/systemd/system"
mkdir "$WORK/etc/systemd/system"
mount --bind "$WORK/etc" /etc
for place in /opt/*; do
    [ -d "$place" ] || continue
    mkdir "$WORK$place"
    mount --rbind "$place" "$WORK$place"
done
mkdir "$WORK/opt/$NAME"
mount --bind "$PROJECT" "$WORK/opt/$NAME"
mount --bind "$PYTHON" "$WORK/opt/$NAME/.python"
mount --bind "$PACKAGES" "$WORK/opt/$NAME/.venv/$LIBRARY"
mount --rbind "$WORK/opt" /opt

sh -eu "$INSTALL"

export container=tests SYSTEMD_UNIT_PATH="/etc/systemd/system:$UNITS"
exec /lib/systemd/systemd --system --unit=multi-user.target --show-status=no --log-target=console
