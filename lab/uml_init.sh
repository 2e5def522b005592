#!/bin/sh
# First process of the user-mode Linux that lab/uml.py boots. Its console is a pair of pipes:
# a line read is the path of a script to run, a line "RESULT path base64" answers with what the
# script printed, and its exit code as the last line. When the pipe ends, so does the machine.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t tmpfs tmp /run
for module in lib/crc-ccitt net/ipv6/ipv6 net/ipv6/tunnel6 net/ipv6/ip6_tunnel; do
  insmod "/usr/lib/uml/modules/$(uname -r)/kernel/$module.ko"
done
sysctl -q -w net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0 \
  net.ipv6.conf.default.accept_ra=0
ip link set lo up
stty -echo
echo READY
while read -r script; do
  result=$(sh -e "$script" </dev/null 2>&1; printf '\n%s' "$?")
  echo "RESULT $script $(printf %s "$result" | base64 -w0)"
done
poweroff -f
