from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING

import pytest

from dstmrouter.dti.state import Claim, State, read_state
from dstmrouter.dti.tunnel import Kind, Tunnel
from dstmrouter.errors import DstmError
from dstmrouter.protocols.granted import PortSet

if TYPE_CHECKING:
    from pathlib import Path

TUNNEL = Tunnel(
    client4=IPv4Address("192.0.2.7"),
    client6=IPv6Address("2001:db8::7"),
    tep6=IPv6Address("2001:db8:f::1"),
    interface="eth0",
)
HOLD = """
import sys
from pathlib import Path
from dstmrouter.dti.state import Claim
try:
    claim = Claim(Path(sys.argv[1]), "dti0")
except Exception as error:
    print(error)
    sys.exit(3)
print("held", flush=True)
sys.stdin.read()
"""


def test_what_is_written_is_read() -> None:
    state = State.of_this_process(TUNNEL, Kind.IP6TNL)
    assert State.decode(state.encode()) == state


def test_a_port_set_is_written_and_need_not_be() -> None:
    ports = PortSet(psid_offset=6, psid_len=8, psid=52)
    state = State.of_this_process(dataclasses.replace(TUNNEL, port_set=ports), Kind.TUN)
    assert state.port_set == "6/8/52"
    assert State.decode(state.encode()) == state
    older = {key: value for key, value in json.loads(state.encode()).items() if key != "port_set"}
    assert State.decode(json.dumps(older)) == dataclasses.replace(state, port_set=None)


@pytest.mark.parametrize("text", ["", "{", "[]", "7", '{"pid": 1}', '{"ends": null}'])
def test_a_broken_file_is_no_state(text: str) -> None:
    assert State.decode(text) is None


def test_a_claim_is_exclusive_and_ends_with_its_process(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        assert read_state(tmp_path, "dti0")[1] is True
        with pytest.raises(DstmError, match="dti0 is in use"):
            Claim(tmp_path, "dti0")
        holder.kill()
    assert read_state(tmp_path, "dti0")[1] is False
    Claim(tmp_path, "dti0").release()


def test_a_killed_clients_state_is_handed_on_and_a_clean_stop_leaves_nothing(
    tmp_path: Path,
) -> None:
    state = State.of_this_process(TUNNEL, Kind.IP6TNL)
    (tmp_path / "dti0.json").write_text(state.encode() + " " * 100)
    (tmp_path / "dti0.counters").write_bytes(b"old")
    claim = Claim(tmp_path, "dti0")
    assert claim.former == state
    other = State.of_this_process(TUNNEL, Kind.TUN)
    claim.write(other)
    assert (tmp_path / "dti0.json").read_text() == other.encode()
    claim.release()
    assert list(tmp_path.iterdir()) == []
    assert read_state(tmp_path, "dti0") == (None, False)


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DstmError, match=r"lock .*dti0\.json: Not a directory"):
        Claim(tmp_path / "file" / "run", "dti0")
