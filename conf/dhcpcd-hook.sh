# Hook of dhcpcd(8): tells dstm-client the servers that DHCPv6 names. Install it as
# /lib/dhcpcd/dhcpcd-hooks/60-dstm, name the file in client.toml (`hosts_file`), and let dhcpcd ask;
# dhcpcd.conf needs, for the DHCP 4o6 servers (RFC 7341) and the AFTR (RFC 6334):
#
#   define6 88 array ip6address dhcp4o6_servers
#   option dhcp6_dhcp4o6_servers, dhcp6_aftr_name
#
# shellcheck shell=sh

dstm_hosts=${DSTM_HOSTS:-/run/dstm-client/hosts}

case "$reason" in
BOUND6 | RENEW6 | REBIND6 | REBOOT6 | INFORM6)
  mkdir -p "$(dirname "$dstm_hosts")"
  for host in $new_dhcp6_dhcp4o6_servers $new_dhcp6_aftr_name; do
    echo "$host"
  done >"$dstm_hosts.new"
  mv "$dstm_hosts.new" "$dstm_hosts"
  ;;
EXPIRE6 | RELEASE6 | STOP6 | STOPPED)
  rm -f "$dstm_hosts"
  ;;
esac
