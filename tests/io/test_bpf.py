from __future__ import annotations

import enum
import errno
import os
import struct

import pytest

from dstmrouter.errors import BpfVerifierError, DstmError, SystemCallError
from dstmrouter.io.bpf import BpfObject, Map, MapSpec, Program
from dstmrouter.io.bpfasm import Assembler, Reg
from dstmrouter.io.uapi import (
    BPF_F_NO_PREALLOC,
    BpfMapType,
    BpfProgType,
    TcAction,
    XdpAction,
)
from tests.io.programs import returning

pytestmark = [
    pytest.mark.netns,
    pytest.mark.skipif(os.geteuid() != 0, reason="bpf(2) needs root"),
]
HASH = MapSpec(BpfMapType.HASH, 4, 8, 3)
FRAME = bytes.fromhex("020000000001 020000000002 88b5") + bytes(46)


def test_a_map_keeps_what_is_set() -> None:
    with Map.create(HASH, "test_hash") as table:
        assert table.get(b"aaaa") is None
        assert list(table.keys()) == []
        table.set(b"aaaa", b"12345678")
        table.set(b"aaaa", b"abcdefgh")
        table.set(b"bbbb", bytes(8))
        assert table.get(b"aaaa") == b"abcdefgh"
        assert sorted(table.keys()) == [b"aaaa", b"bbbb"]
        assert table.delete(b"aaaa")
        assert not table.delete(b"aaaa")
        assert list(table.keys()) == [b"bbbb"]


def test_a_full_map_says_which_key_and_map() -> None:
    with Map.create(HASH, "test_hash") as table:
        for key in (b"aaaa", b"bbbb", b"cccc"):
            table.set(key, bytes(8))
        with pytest.raises(SystemCallError, match="set 64646464 in BPF map test_hash: ") as caught:
            table.set(b"dddd", bytes(8))
        assert caught.value.errno == errno.E2BIG


def test_an_array_has_all_keys_and_no_others() -> None:
    with Map.create(MapSpec(BpfMapType.ARRAY, 4, 4, 2), "test_array") as array:
        array.set(struct.pack("=I", 1), b"abcd")
        assert array.get(struct.pack("=I", 0)) == bytes(4)
        assert array.get(struct.pack("=I", 1)) == b"abcd"
        with pytest.raises(SystemCallError):
            array.set(struct.pack("=I", 2), b"abcd")


def test_a_trie_finds_the_longest_prefix() -> None:
    spec = MapSpec(BpfMapType.LPM_TRIE, 8, 1, 10, BPF_F_NO_PREALLOC)
    with Map.create(spec, "test_trie") as trie:
        trie.set(struct.pack("=I4B", 8, 10, 0, 0, 0), b"a")
        trie.set(struct.pack("=I4B", 16, 10, 1, 0, 0), b"b")
        assert trie.get(struct.pack("=I4B", 32, 10, 1, 2, 3)) == b"b"
        assert trie.get(struct.pack("=I4B", 32, 10, 2, 2, 3)) == b"a"
        assert trie.get(struct.pack("=I4B", 32, 11, 2, 2, 3)) is None


def test_a_handed_down_descriptor_is_the_same_map() -> None:
    with Map.create(HASH, "test_hash") as table, Map.from_fd(os.dup(table.fileno()), "down") as own:
        assert own.spec == HASH
        table.set(b"aaaa", b"12345678")
        assert own.get(b"aaaa") == b"12345678"


def test_a_map_of_a_wrong_kind_cannot_be_made() -> None:
    with pytest.raises(SystemCallError, match=r"create BPF map broken \(HASH\): Invalid argument"):
        Map.create(MapSpec(BpfMapType.HASH, 0, 0, 0), "broken")


def test_a_descriptor_of_something_else_is_refused() -> None:
    with open("/dev/null") as null, pytest.raises(SystemCallError, match="inspect BPF map x at fd"):
        Map.from_fd(null.fileno(), "x")


def test_a_map_of_a_type_we_do_not_know_is_refused() -> None:
    class Other(enum.IntEnum):
        PERCPU_ARRAY = 6

    spec = MapSpec(Other.PERCPU_ARRAY, 4, 8, 1)  # type: ignore[arg-type]  # that is the point
    with Map.create(spec, "other") as other:  # noqa: SIM117 the second one is the check
        with pytest.raises(DstmError, match="is a BPF map of type 6, not mine"):
            Map.from_fd(other.fileno(), "mine")


def test_a_closed_map_cannot_be_asked() -> None:
    with Map.create(HASH, "gone") as gone:
        pass
    with pytest.raises(SystemCallError, match="look up 61616161 in BPF map gone: Bad file"):
        gone.get(b"aaaa")


def test_the_verifier_explains_itself() -> None:
    asm = Assembler()
    asm.mov(Reg.R0, Reg.R3)  # never written
    asm.exit()
    with pytest.raises(BpfVerifierError, match="load BPF program careless") as caught:
        Program.load(BpfProgType.XDP, asm.assemble(), "careless")
    assert "R3 !read_ok" in caught.value.log
    assert caught.value.log in str(caught.value)


def test_a_refusal_before_the_verifier_is_a_plain_error() -> None:
    with pytest.raises(SystemCallError, match=r"load BPF program empty \(XDP\)") as caught:
        Program.load(BpfProgType.XDP, b"", "empty")
    assert not isinstance(caught.value, BpfVerifierError)


@pytest.mark.parametrize(
    ("kind", "value"),
    [(BpfProgType.XDP, XdpAction.TX), (BpfProgType.SCHED_CLS, TcAction.UNSPEC)],
)
def test_a_run_returns_action_and_frame(kind: BpfProgType, value: int) -> None:
    with Program.load(kind, returning(value), "run_test") as program:
        run = program.run(FRAME)
    assert run.action == value
    assert run.frame == FRAME


def test_a_frame_without_ethernet_header_cannot_be_run() -> None:
    with Program.load(BpfProgType.XDP, returning(2), "run_test") as program:  # noqa: SIM117
        with pytest.raises(SystemCallError, match="run BPF program on a frame of 13 octets"):
            program.run(bytes(13))


def test_close_twice_closes_once() -> None:
    owner = BpfObject(os.open("/dev/null", os.O_RDONLY))
    fd = owner.fileno()
    owner.close()
    reused = os.open("/dev/null", os.O_RDONLY)
    assert reused == fd  # now somebody else's
    owner.close()
    os.fstat(reused)
    os.close(reused)
    assert owner.fileno() == -1
