#!/bin/bash
# Builds the operating-system image: a raw disk with an MBR, one active FAT partition, SYSLINUX,
# Debian's kernel and a busybox root in an initramfs. Needs no loop device and mounts nothing.
#
#   build.sh OUT     leaves OUT/os.raw, OUT/os.raw.sha256 and OUT/build-id
#
# The build id is a digest of all that the partition holds; it stands on the kernel line and in a
# file of the partition, and the guest says it only after it found both equal (see init).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
out=$1
. "$here/../lib.sh"

SECTOR=512
START=2048            # first sector of the partition: 1 MiB, so that SYSLINUX and the MBR never touch
IMAGE_MIB=24

phase 0.00 0.30 6 "reading package lists"
private_apt
phase 0.30 0.60 6 "fetching the kernel"
fetch_kernel kernel
fetch_package busybox busybox-static

phase 0.60 0.85 5 "packing the initial root"
mkdir -p root/{bin,dev,disk,etc/acpi/PWRF,modules,proc,sys,tmp}
cp busybox/bin/busybox root/bin/busybox
for applet in sh mount umount insmod udhcpc ip hostname cat dd hexdump sleep setsid poweroff reboot \
    acpid init ls dmesg sed uname ps free df vi ping wget; do
    ln -s busybox "root/bin/$applet"
done
install -m 755 "$here/init" root/init
install -m 755 "$here/lease" "$here/power-button" root/etc/
ln -s ../../power-button root/etc/acpi/PWRF/00000080
cp "$here/inittab" root/etc/inittab
number=10
modules=$(module_files kernel virtio_pci virtio_blk virtio_scsi sd_mod ata_piix nvme virtio_net \
    nls_cp437 nls_ascii vfat evdev button)
for file in $modules; do
    cp "$file" "root/modules/$number-$(basename "$file")"
    number=$((number + 1))
done
find root -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
(cd root && find . | sort | cpio --quiet -o -H newc --reproducible -R 0:0) | zstd -q -10 > initramfs.zst

phase 0.85 1.00 3 "writing the disk"
cp "kernel/boot/vmlinuz-$KERNEL" vmlinuz
build_id=$(cat vmlinuz initramfs.zst "$here/syslinux.cfg" | sha256sum | cut -c1-16)
sed "s/@BUILD_ID@/$build_id/" "$here/syslinux.cfg" > syslinux.cfg
echo "$build_id" > build-id

sectors=$((IMAGE_MIB * 1024 * 1024 / SECTOR))
truncate -s $((IMAGE_MIB * 1024 * 1024)) os.raw
# The disk signature is the head of the build id, so that the PARTUUID tells images apart too.
sfdisk --quiet os.raw <<TABLE
label: dos
label-id: 0x${build_id:0:8}
start=$START, size=$((sectors - START)), type=0e, bootable
TABLE
dd if=/usr/lib/syslinux/mbr/mbr.bin of=os.raw bs=440 count=1 conv=notrunc status=none
mkfs.fat -F 16 -s 2 --offset $START -h $START -i "${build_id:0:8}" -n REVEILLE os.raw $(((sectors - START) / 2))
mtools_drive="os.raw@@$((START * SECTOR))"
mcopy -i "$mtools_drive" vmlinuz initramfs.zst syslinux.cfg build-id ::
syslinux --install --offset $((START * SECTOR)) os.raw
sha256sum os.raw > os.raw.sha256
install -m 644 os.raw os.raw.sha256 build-id "$out/"
