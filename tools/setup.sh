#!/bin/sh
# Make what `make demo` and `make test` need on a Debian 12: packages, and .venv with dstmrouter and
# its developer tools. Run as often as you like; nothing is installed twice, nothing is started.
# With `uncompiled`, whoever calls has `dstm-router compile` run beside something else.
set -eu
cd "$(dirname "$0")/.."

# program : package that brings it
NEEDED='
bridge:iproute2
cc:gcc
curl:curl
dhcpcd:dhcpcd-base
dnsmasq:dnsmasq-base
ethtool:ethtool
gsasl:gsasl
insmod:kmod
ip:iproute2
linux.uml:user-mode-linux
nft:nftables
openssl:openssl
ping:iputils-ping
rpcbind:rpcbind
rpcgen:rpcsvc-proto
sysctl:procps
systemd-analyze:systemd
tcpdump:tcpdump
traceroute:traceroute
'
export PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"

fail() {
  echo "setup: $*" >&2
  exit 1
}

missing_packages() {
  for pair in $NEEDED; do
    command -v "${pair%%:*}" >/dev/null || echo "${pair##*:}"
  done | sort -u
  [ -n "$(find_python)" ] || printf '%s\n' python3 python3-venv
  [ -e /etc/ssl/certs/ca-certificates.crt ] || echo ca-certificates  # pip speaks HTTPS
  [ -e /usr/include/stdio.h ] || echo libc6-dev  # the C compiler only recommends it
  [ -e /usr/include/tirpc/rpc/rpc.h ] || echo libtirpc-dev  # tests compile a client of docs/dstm.x
  # Its programs are in a directory of their version, outside of PATH.
  ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 || echo postgresql
  [ -e /usr/include/linux/if_xdp.h ] || echo linux-libc-dev  # tests compare our constants with it
}

# The first Python of 3.11 or later that can make environments.
find_python() {
  for python in ${PYTHON:-python3.11 python3 /usr/bin/python3}; do
    if "$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
    then
      echo "$python"
      return
    fi
  done
}

missing=$(missing_packages | tr '\n' ' ')
if [ -n "$missing" ]; then
  command -v apt-get >/dev/null || fail "this is no Debian; please install: $missing"
  [ "$(id -u)" = 0 ] || fail "not root; please run: apt-get install $missing"
  echo "setup: installing $missing"
  export DEBIAN_FRONTEND=noninteractive
  if [ ! -e /usr/sbin/policy-rc.d ]; then  # keeps packages (rpcbind) from starting their services
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT
    printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
    chmod 755 /usr/sbin/policy-rc.d
  fi
  apt-get -qq update
  case " $missing " in
    *" postgresql "*)  # tests start their own: no cluster of the system, which would run at once
      apt-get -qq install -y --no-install-recommends postgresql-common >/dev/null
      sed -ri 's/^#?(create_main_cluster) .*$/\1 = false/' /etc/postgresql-common/createcluster.conf
      ;;
  esac
  # shellcheck disable=SC2086  # a list of words
  apt-get -qq install -y --no-install-recommends $missing >/dev/null
fi

python=$(find_python)
[ -n "$python" ] || fail "no Python 3.11 or later with venv and ensurepip"
# A moved or copied tree has an environment that points elsewhere, which pip would change: it tells.
case "$(.venv/bin/pip --version 2>/dev/null)" in
  *" from $(pwd -P)/.venv/"*) ;;
  *) "$python" -m venv --clear .venv ;;
esac
echo "setup: installing Python packages into .venv"
# Byte code is kept of what gets imported: of all that is in the packages it takes 10 s to make.
unset PYTHONDONTWRITEBYTECODE
.venv/bin/pip install --quiet --quiet --disable-pip-version-check --no-compile --editable '.[dev,perf]'
# `python perf/pipeline.py` finds lab and perf as `python -m perf.pipeline` does.
pwd >"$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/checkout.pth"
touch .venv/.complete
if [ "${1:-}" != uncompiled ]; then
  .venv/bin/dstm-router compile
  touch .venv/.compiled
fi
echo "setup: done"
