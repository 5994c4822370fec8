#!/bin/sh
# Called by udhcpc in a BMC's namespace: puts the leased address on the interface and writes it down.
# DIRECTORY, the BMC's own, comes from the environment.
case $1 in
deconfig)
    rm -f "$DIRECTORY/lease"
    ip addr flush dev "$interface" scope global
    ip link set "$interface" up
    ;;
bound | renew)
    ip addr replace "$ip/${mask:-24}" dev "$interface"
    for gateway in ${router:-}; do ip route replace default via "$gateway" && break; done
    env >"$DIRECTORY/lease.new" && mv "$DIRECTORY/lease.new" "$DIRECTORY/lease"
    ;;
esac
exit 0
