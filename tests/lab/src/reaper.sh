#!/bin/sh
# Takes down one run of the lab: reaper.sh PREFIX DIRECTORY MARK
#
# It is started with the run, in a process group of its own, and waits for the end of its standard input. That comes
# when the run is dropped, and as surely when its process is killed; so there is one clean-up for every way to end.
# It writes what it could not remove, one a line. A line "keep" ends it without a clean-up.
#
# Ours are: processes with MARK in their environment or inside a namespace named PREFIX-…, those namespaces,
# mounts and loop devices below DIRECTORY, and DIRECTORY. Nothing else is touched.
set -u
prefix=$1 directory=$2 mark=$3
trap '' HUP INT QUIT TERM PIPE
while IFS= read -r line; do [ "$line" = keep ] && exit 0; done

pids() {
    grep -lszxF -e "$mark" /proc/[0-9]*/environ 2>/dev/null | while IFS=/ read -r _ _ pid _; do echo "$pid"; done
    for path in /run/netns/"$prefix"-*; do
        [ -e "$path" ] && ip netns pids "${path##*/}" 2>/dev/null
    done
}

# A process may have forked between the listing and the kill: repeat until none is left, 10 s at most.
rounds=0
while ours=$(pids) && [ -n "$ours" ] && [ "$rounds" -lt 200 ]; do
    for pid in $ours; do kill -9 "$pid" 2>/dev/null; done
    rounds=$((rounds + 1))
    sleep 0.05
done
[ -z "$ours" ] || for pid in $ours; do echo "process $pid"; done

for path in /run/netns/"$prefix"-*; do
    [ -e "$path" ] || continue
    ip netns del "${path##*/}" 2>/dev/null || echo "namespace ${path##*/}"
done

# Deepest mounts first; /proc/mounts writes a blank as \040, and the lab makes no such names.
while read -r _ at _; do
    case $at in "$directory"/*) echo "$at" ;; esac
done </proc/mounts | sort -r | while IFS= read -r at; do
    umount "$at" 2>/dev/null || umount -l "$at" 2>/dev/null || echo "mount $at"
done
for file in /sys/block/loop*/loop/backing_file; do
    [ -e "$file" ] || continue
    read -r backing <"$file" || continue
    device=${file#/sys/block/}
    case $backing in "$directory"/*) losetup -d "/dev/${device%%/*}" 2>/dev/null || echo "loop device ${device%%/*}" ;; esac
done

rm -rf --one-file-system "$directory" 2>/dev/null
[ ! -e "$directory" ] || echo "directory $directory"
