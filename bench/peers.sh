#!/bin/sh
# Unpacks Debian packages into a folder, without installing them: peers of the benchmark that exclude one another.
#
# usage: peers.sh FOLDER PACKAGE…
set -eu

folder=$1
shift
mkdir -p "$folder"
for package; do
    [ -e "$folder/$package.unpacked" ] && continue
    download=$(mktemp -d)
    trap 'rm -rf "$download"' EXIT
    (cd "$download" && { apt-get -qq -o APT::Sandbox::User=root download "$package" || { apt-get -qq update && apt-get -qq -o APT::Sandbox::User=root download "$package"; }; })
    # A folder each: both have an in.tftpd.
    dpkg-deb -x "$download"/"$package"_*.deb "$folder/$package"
    touch "$folder/$package.unpacked"
    rm -rf "$download"
done
