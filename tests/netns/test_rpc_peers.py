"""dstm-server with programs of others: rpcbind, rpcinfo, and a client made by rpcgen."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from lab.netns import run
from tests.daemon.rpcbind_process import needs_rpcbind
from tests.netns.rpc_network import CLIENT6, PORT, SERVER6, RpcNetwork

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.netns, needs_rpcbind]

PROG: Final = str(0x2000D573)
ROOT: Final = Path(__file__).parents[2]
INCLUDE: Final = Path("/usr/include/tirpc")
UNIVERSAL: Final = f"{SERVER6}.{PORT >> 8}.{PORT & 255}"
READY: Final = f"program {PROG} version 1 ready and waiting"
MISMATCH: Final = "Program/version mismatch; low version = 1, high version = 1"
WAYS: Final = ["tcp6", "udp6"]


@pytest.fixture(scope="module")
def network() -> Iterator[RpcNetwork]:
    with RpcNetwork() as network:
        network.start()
        yield network


@pytest.mark.parametrize("netid", WAYS)
def test_rpcinfo_pings_through_rpcbind_and_without(network: RpcNetwork, netid: str) -> None:
    assert network.rpcinfo("-T", netid, SERVER6, PROG, "1").strip() == READY
    assert network.rpcinfo("-T", netid, SERVER6, PROG).strip() == READY  # asks for the versions
    assert network.rpcinfo("-a", UNIVERSAL, "-T", netid, PROG, "1").strip() == READY


@pytest.mark.parametrize("netid", WAYS)
def test_rpcinfo_learns_which_versions_there_are(network: RpcNetwork, netid: str) -> None:
    assert MISMATCH in network.rpcinfo("-T", netid, SERVER6, PROG, "7")
    assert MISMATCH in network.rpcinfo("-a", UNIVERSAL, "-T", netid, PROG, "7")
    assert "is not available" in network.rpcinfo("-a", UNIVERSAL, "-T", netid, "536870913", "1")


def test_rpcinfo_lists_the_program_and_its_addresses(network: RpcNetwork) -> None:
    rows = [line.split() for line in network.rpcinfo(SERVER6).splitlines()]
    ours = sorted(row[1:4] for row in rows if row[0] == PROG)
    assert ours == [["1", netid, f"::.{PORT >> 8}.{PORT & 255}"] for netid in WAYS]


def test_the_registration_ends_with_the_server_and_outlives_no_successor() -> None:
    with RpcNetwork() as network:
        network.start()
        log = network.stop()
        assert "Traceback" not in log
        assert network.registered() == []
        network.start()
        network.kill()
        assert network.registered() == WAYS  # what a killed server leaves
        network.start()
        assert network.rpcinfo("-T", "tcp6", SERVER6, PROG, "1").strip() == READY
        network.stop()
        assert network.registered() == []


@pytest.fixture(scope="module")
def foreign_client(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`dstm_client.c` with the stubs that rpcgen makes of docs/dstm.x."""
    if not (shutil.which("rpcgen") and shutil.which("gcc") and INCLUDE.is_dir()):
        pytest.skip("needs rpcgen, gcc and libtirpc-dev (tools/setup.sh installs them)")
    home = tmp_path_factory.mktemp("rpcgen")
    shutil.copy(ROOT / "docs" / "dstm.x", home)
    for option, made in (("-h", "dstm.h"), ("-c", "dstm_xdr.c"), ("-l", "dstm_clnt.c")):
        run("sh", "-c", f"cd {home} && rpcgen -C {option} -o {made} dstm.x")
    source = Path(__file__).with_name("dstm_client.c")
    stubs = [home / "dstm_xdr.c", home / "dstm_clnt.c"]
    paths = [f"-I{home}", f"-I{INCLUDE}"]
    run("gcc", "-w", "-o", home / "dstm_client", *paths, source, *stubs, "-ltirpc")
    return home / "dstm_client"


@pytest.mark.parametrize("netid", WAYS)
def test_a_foreign_client_leases(network: RpcNetwork, foreign_client: Path, netid: str) -> None:
    lines = network.client.run(foreign_client, netid, SERVER6, CLIENT6).splitlines()
    if netid == "udp6":
        assert lines.pop(0) == "cookie 16"
    words = [line.split() for line in lines]
    assert [row[0] for row in words] == ["allocate", "renew", "query", "release", "query"]
    lent = f"{CLIENT6} 192.0.2.0/32 tep6 2001:db8:f::1 lifetime"
    for line in lines[:3]:
        assert lent in line
        assert line.endswith("mtu 1460 state 2")
    lifetime, t1, t2 = (int(words[1][at]) for at in (6, 8, 10))
    assert (lifetime in {599, 600}, t1, t2) == (True, lifetime // 2, lifetime * 7 // 8)
    assert lines[3] == "release 0"
    assert lines[4].endswith("state 3")  # being removed at the routers


@pytest.mark.parametrize("netid", WAYS)
def test_a_foreign_client_for_another_address(
    network: RpcNetwork, foreign_client: Path, netid: str
) -> None:
    said = network.client.run(foreign_client, netid, SERVER6, "2001:db8:5::d", check=False)
    assert said.splitlines()[-1] == "allocate: stat 1"  # DSTM_EPERM
