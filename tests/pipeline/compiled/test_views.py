from __future__ import annotations

import ctypes

import numpy as np

from dstmrouter.jit.functions import address
from dstmrouter.pipeline.compiled.views import Burst, Columns, Views, World
from dstmrouter.pipeline.ports import MAX_PORTS, PORT
from dstmrouter.pipeline.rules import TunnelRules
from tests.pipeline import worlds
from tests.pipeline.built import tables


def rules(**changes: object) -> TunnelRules:
    return TunnelRules(tep6=(worlds.TEP6, worlds.TEP6_B), **changes)  # type: ignore[arg-type]


def seen(**changes: object) -> tuple[World, Views, bytearray]:
    memory = bytearray(4096)
    views = Views(memory, tables(worlds.world()), rules(**changes))
    return World(*views.numbers), views, memory


def test_addresses_are_those_of_the_memory_itself() -> None:
    world, views, memory = seen()
    memory[7] = 0x5A
    assert ctypes.string_at(int(world.frames) + 7, 1) == b"\x5a"
    words = np.ctypeslib.as_array((ctypes.c_uint64 * 4).from_address(int(world.teps)))
    assert words.tobytes() == worlds.TEP6.packed + worlds.TEP6_B.packed
    assert list(map(int, (world.tep_count, world.hairpin, world.hop_limit))) == [2, 1, 64]
    assert world.largest == 1460
    assert len(views.numbers) == len(World._fields)


def test_a_fixed_label_is_part_of_the_first_words() -> None:
    world, _views, _ = seen(flow_label=0x12345)
    assert not world.hashed_label
    first = (ctypes.c_uint64 * 256).from_address(int(world.first_words))
    assert first[0xB8] == 0x6B812345
    assert seen()[0].hashed_label


def test_ports_are_described_as_they_stand_on_the_wire() -> None:
    world, views, _ = seen()
    ports = np.zeros(MAX_PORTS, PORT)
    ports["mac"][3], ports["vlan"][3], ports["mtu"][3] = np.void(b"\2abcde"), 77, 9000
    views.describe_ports(ports)
    link = (ctypes.c_uint64 * (4 * MAX_PORTS)).from_address(int(world.links))[12:16]
    assert link[0].to_bytes(8, "little") == b"\2abcde\0\0"
    assert (link[1], link[3]) == (77, 9000)
    assert link[2].to_bytes(8, "little") == bytes.fromhex("8100004d") + bytes(4)


def test_columns_are_room_for_results() -> None:
    columns = Columns(16)
    burst = Burst(np.uint64(0), np.uint64(0), np.uint64(16), *columns.numbers)
    assert burst.rest == address(columns.rest)
    assert burst.verdict == address(columns.verdict)
    assert {len(each) for each in (columns.verdict, columns.port, columns.new_at)} == {16}
