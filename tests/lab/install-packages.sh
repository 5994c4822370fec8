#!/bin/sh
# Installs the Debian packages that the lab needs and this machine lacks. Says what and why before it does anything.
#
# usage: install-packages.sh [LIST…]     LIST: files like packages.txt; default: the one beside this script
#
# With nothing missing it is silent and quick. Service packages do not start their daemons: a policy that forbids it
# stands while the installation runs, unless the machine has a policy of its own.
set -eu

here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
[ "$#" -gt 0 ] || set -- "$here/packages.txt"

installed() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

missing=
report=
for list; do
    while read -r package reason; do
        case $package in '' | '#'*) continue ;; esac
        case " $missing " in *" $package "*) continue ;; esac
        installed "$package" && continue
        missing="$missing $package"
        report="$report$(printf '  %-20s %s' "$package" "${reason#\# }")
"
    done <"$list"
done
[ -n "$missing" ] || exit 0

printf 'These Debian packages are missing and will be installed:\n%s' "$report"
if [ "$(id -u)" -ne 0 ]; then
    printf 'Only root may do that. Run this script as root, or:\n  apt-get install --no-install-recommends%s\n' "$missing" >&2
    exit 1
fi

policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    trap 'exit 130' INT TERM HUP
    printf '#!/bin/sh\n# Keeps daemons from starting while packages for a test lab are installed.\nexit 101\n' >"$policy"
    chmod 755 "$policy"
fi

export DEBIAN_FRONTEND=noninteractive
install() {
    # shellcheck disable=SC2086  # one word per package
    apt-get -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 -qq install -y --no-install-recommends $missing
}
# The package lists are fetched only when there are none or they are too old to install from.
if ! apt-get -qq --simulate --no-install-recommends install $missing >/dev/null 2>&1 || ! install; then
    apt-get -o DPkg::Lock::Timeout=300 -qq update
    install
fi
