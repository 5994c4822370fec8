# What both recipes share: the private apt, the kernel package, the progress line.
#
# A recipe runs as `build.sh OUT` in a scratch directory that its caller made and removes.
# Its standard output carries progress alone: one line `FROM TO SECONDS TEXT` per phase (fractions of
# the whole, and what the phase usually takes). Standard error is the log.
#
# Packages come from whatever archive this machine's own apt uses for Debian bookworm, its updates
# and its security fixes: nothing here names a host, and backports or third-party sources that
# the machine may also have never reach a guest.

exec 3>&1 1>&2
SUITE=bookworm
export LC_ALL=C.UTF-8 TZ=UTC SOURCE_DATE_EPOCH=1700000000
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
unset PYTHONPATH PYTHONHOME TMPDIR

phase() { printf "%s\n" "$*" >&3; echo "== ${*:4}"; }
die() { echo "error: $*"; exit 1; }

# debian_sources: prints one-line apt sources for the suite, as this machine has them.
debian_sources() {
    apt-get indextargets \
        --format '$(CREATED_BY)|$(ORIGIN)|$(CODENAME)|$(REPO_URI)|$(RELEASE)|$(COMPONENT)' |
        awk -F'|' -v suite="$SUITE" -v keys=/usr/share/keyrings/debian-archive-keyring.gpg '
            $1 == "Packages" && $2 == "Debian" && $6 == "main" &&
            ($3 == suite || $3 == suite "-updates" || $3 == suite "-security") {
                print "deb [signed-by=" keys "] " $4 " " $5 " main"
            }' | sort -u
}

# private_apt: a package index of its own below ./apt (sources.list, apt.conf), so that neither
# pins nor held packages nor half-configured packages of this machine play a part.
private_apt() {
    mkdir -p apt/state/lists/partial apt/cache/archives/partial
    : > apt/status
    debian_sources > apt/sources.list
    if ! grep -q " $SUITE main" apt/sources.list; then
        apt-get -o DPkg::Lock::Timeout=300 update
        debian_sources > apt/sources.list
    fi
    grep -q " $SUITE main" apt/sources.list ||
        die "apt knows no Debian $SUITE archive (is this Debian 12, and did 'apt-get update' succeed?)"
    # The machine's way to its archive (proxies, certificates, date checks), and no more.
    apt-config dump | grep -E '^Acquire::(http|https|Retries|Check-|Max-ValidTime|ForceIPv)' > apt/host.conf || true
    cp apt/host.conf apt/apt.conf
    cat >> apt/apt.conf <<CONF
Dir::Etc::main "/dev/null";
Dir::Etc::parts "/dev/null";
Dir::Etc::sourcelist "$PWD/apt/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
Dir::State "$PWD/apt/state";
Dir::State::status "$PWD/apt/status";
Dir::Cache "$PWD/apt/cache";
Acquire::Languages "none";
APT::Sandbox::User "root";
CONF
    APT_CONFIG=$PWD/apt/apt.conf apt-get update
}

# fetch_package DIR PACKAGE: downloads PACKAGE and unpacks it below DIR, running none of its scripts.
fetch_package() {
    mkdir -p "$1" debs
    (cd debs && APT_CONFIG=$OLDPWD/apt/apt.conf apt-get download "$2")
    dpkg-deb -x debs/"$2"_*.deb "$1"
}

# fetch_kernel DIR: the newest cloud kernel below DIR, its module index made; sets KERNEL to its version.
fetch_kernel() {
    local package
    package=$(APT_CONFIG=$PWD/apt/apt.conf apt-cache depends --important linux-image-cloud-amd64 |
        awk '$1 == "Depends:" && $2 ~ /^linux-image-/ { print $2; exit }')
    [ -n "$package" ] || die "no kernel package behind linux-image-cloud-amd64"
    fetch_package "$1" "$package"
    KERNEL=${package#linux-image-}
    depmod -b "$1" "$KERNEL"
}

# module_files ROOT NAME...: the module files that loading the NAMEs needs, in load order, each once.
module_files() {
    local root=$1 name
    shift
    for name in "$@"; do
        modprobe -d "$root" -S "$KERNEL" --show-depends "$name" || exit 1
    done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }'
}
