#!/bin/sh
# Has this machine's apt know Debian's packages of another architecture, which the lab unpacks and does not install.
#
# usage: foreign-architecture.sh ARCHITECTURE
#
# Done already, it is silent and quick.
set -eu

architecture=$1
known() { [ -n "$(apt-cache show "busybox-static:$architecture" 2>/dev/null)" ]; }

[ "$(dpkg --print-architecture)" != "$architecture" ] || exit 0
if ! dpkg --print-foreign-architectures | grep -qx "$architecture"; then
    printf 'Packages of the architecture %s are needed: dpkg --add-architecture %s\n' "$architecture" "$architecture"
    if [ "$(id -u)" -ne 0 ]; then
        printf 'Only root may do that. Run this script as root.\n' >&2
        exit 1
    fi
    dpkg --add-architecture "$architecture"
fi
known || apt-get -o DPkg::Lock::Timeout=300 -qq update
known || {
    printf 'apt knows no packages of the architecture %s: do its sources name other architectures only?\n' "$architecture" >&2
    exit 1
}
