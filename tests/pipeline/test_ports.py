from __future__ import annotations

from dstmrouter.pipeline.ports import MAX_PORTS, PortTable

MAC = bytes.fromhex("020000000a0b")


def pair() -> tuple[PortTable, PortTable]:
    memory = bytearray(PortTable.SIZE)
    return PortTable(memory), PortTable(memory)


def test_a_port_is_read_as_it_was_set() -> None:
    writer, reader = pair()
    assert writer.set(0, mac=MAC, mtu=1500, vlan=None)
    assert writer.set(MAX_PORTS - 1, mac=MAC[::-1], mtu=9000, vlan=4094)
    seen = reader.read()
    assert seen is not None
    generation, ports = seen
    assert generation == reader.generation == 4
    assert ports["mac"][0].tobytes() == MAC
    assert ports["mac"][MAX_PORTS - 1].tobytes() == MAC[::-1]
    assert ports["mtu"][[0, MAX_PORTS - 1]].tolist() == [1500, 9000]
    assert ports["vlan"][[0, MAX_PORTS - 1]].tolist() == [0, 4094]


def test_setting_what_is_set_already_changes_nothing() -> None:
    writer, reader = pair()
    writer.set(1, mac=MAC, mtu=1500, vlan=5)
    before = reader.generation
    assert not writer.set(1, mac=MAC, mtu=1500, vlan=5)
    assert reader.generation == before
    assert writer.set(1, mac=MAC, mtu=1500, vlan=6)
    assert reader.generation == before + 2


def test_a_reader_waits_while_a_change_is_under_way() -> None:
    memory = bytearray(PortTable.SIZE)
    writer, reader = PortTable(memory), PortTable(memory)
    writer.set(0, mac=MAC, mtu=1500, vlan=None)
    memory[0] += 1  # what the writer does first
    assert reader.read() is None
    memory[0] += 1
    assert reader.read() is not None


def test_what_was_read_does_not_change_afterwards() -> None:
    writer, reader = pair()
    writer.set(0, mac=MAC, mtu=1500, vlan=None)
    seen = reader.read()
    assert seen is not None
    writer.set(0, mac=MAC, mtu=1400, vlan=None)
    assert int(seen[1]["mtu"][0]) == 1500
