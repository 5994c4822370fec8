#!/bin/bash
# Builds the agent image: Debian's kernel and an initial root that carries a compressed Debian with
# the unmodified ironic-python-agent from PyPI, and our init. Mounts nothing but what mmdebstrap does.
#
#   build.sh OUT     leaves OUT/deploy.kernel and OUT/deploy.initramfs
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
out=$1
. "$here/../lib.sh"

AGENT=ironic-python-agent==13.0.0
words() { sed 's/#.*//' "$@" | tr -s ' \n' '\n\n' | grep .; }

[ "$(/usr/bin/python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')" = 3.11 ] ||
    die "/usr/bin/python3 must be Debian 12's Python 3.11, which the guest has too"

phase 0.00 0.05 4 "reading package lists"
private_apt

phase 0.05 0.65 55 "installing the agent and its Debian"
/usr/bin/python3 -m pip install --no-input --no-compile --no-warn-script-location --root-user-action=ignore \
    --disable-pip-version-check --target ipa -c "$here/constraints.txt" "$AGENT" > pip.log 2>&1 &
pip=$!
fetch_kernel kernel
mmdebstrap --mode=root --variant=essential --format=directory \
    --hook-dir=/usr/share/mmdebstrap/hooks/merged-usr \
    --aptopt=apt/host.conf --aptopt='Acquire::Languages "none"' --dpkgopt=force-unsafe-io \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/info/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
    --dpkgopt='path-exclude=/usr/share/lintian/*' --dpkgopt='path-exclude=/usr/share/bash-completion/*' \
    --include="$(words "$here/packages.txt" | paste -sd,)" \
    "$SUITE" root apt/sources.list
wait $pip || { cat pip.log; die "pip could not install $AGENT"; }
tail -n 1 pip.log

phase 0.65 0.75 8 "compiling the agent's Python"
mkdir -p root/opt
mv ipa root/opt/ipa
# Without the tables that only underline parts of lines in tracebacks: less to read at every start.
/usr/bin/python3 -X no_debug_ranges -m compileall -f -q -j 2 -s root --invalidation-mode unchecked-hash root/opt/ipa root/usr/lib/python3.11 ||
    echo "some files did not compile (templates, most likely)"

phase 0.75 0.80 2 "adding kernel modules and init"
modules=$(module_files kernel $(words "$here/modules.txt" | grep -vx early))
for file in $modules; do
    install -D -m 644 "$file" "root/usr/lib/modules/${file#*/lib/modules/}"
done
cp kernel/lib/modules/"$KERNEL"/modules.{builtin,builtin.modinfo,order} "root/usr/lib/modules/$KERNEL/"
depmod -b root "$KERNEL"
rm -f root/sbin/init
install -m 755 "$here/init" root/sbin/init
install -m 755 "$here/power" root/sbin/poweroff
ln -sf poweroff root/sbin/reboot
mkdir -p root/etc/acpi/PWRF
printf '#!/bin/sh\nexec poweroff\n' > root/etc/acpi/PWRF/00000080
chmod 755 root/etc/acpi/PWRF/00000080
install -m 755 "$here/lease" root/etc/lease
install -m 644 "$here/launch.py" root/opt/launch.py
install -m 644 "$here/ironic-python-agent.conf" root/etc/
rm -rf root/var/cache/* root/var/lib/apt root/var/log/* root/usr/lib/udev/hwdb.d root/etc/apt root/dev/* \
    root/usr/lib/x86_64-linux-gnu/gconv
# lshw, which the agent runs twice, reads all names of all PCI devices first; nobody here reads them.
: > root/usr/share/misc/pci.ids
mkdir -p root/opt root/proc root/sys root/run root/tmp

phase 0.80 1.00 15 "compressing"
mkdir -p early/{bin,dev,lower,merged,modules,proc,sys,upper}
cp root/usr/bin/busybox early/bin/busybox
for applet in sh mount insmod mkdir switch_root; do ln -s busybox "early/bin/$applet"; done
install -m 755 "$here/early-init" early/init
number=10
modules=$(module_files kernel $(sed -n 's/^early //p' "$here/modules.txt"))
for file in $modules; do
    cp "$file" "early/modules/$number-$(basename "$file")"
    number=$((number + 1))
done
# No fragments: many small files are read, and each would unpack a block that it shares with others.
mksquashfs root early/root.squashfs -comp zstd -Xcompression-level 12 -b 256K -no-fragments \
    -all-root -no-xattrs -no-progress -quiet
(cd early && find . | cpio --quiet -o -H newc -R 0:0) > "$out/deploy.initramfs"
install -m 644 "kernel/boot/vmlinuz-$KERNEL" "$out/deploy.kernel"
