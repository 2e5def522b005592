"""Classic BPF for one packet, written from bpf(4) of the BSDs: the oracle of `pipeline.cbpf`."""

from __future__ import annotations

ONES = 0xFFFFFFFF


class RejectedError(Exception):
    pass


def load(packet: bytes, at: int, size: int) -> int:
    if at + size > len(packet):
        raise RejectedError
    return int.from_bytes(packet[at : at + size], "big")


def alu(operation: int, a: int, b: int) -> int:
    if operation in {0x30, 0x90} and b == 0:
        raise RejectedError
    return {
        0x00: lambda: a + b,
        0x10: lambda: a - b,
        0x20: lambda: a * b,
        0x30: lambda: a // b,
        0x40: lambda: a | b,
        0x50: lambda: a & b,
        0x60: lambda: a << b if b < 32 else 0,
        0x70: lambda: a >> b if b < 32 else 0,
        0x80: lambda: -a,
        0x90: lambda: a % b,
        0xA0: lambda: a ^ b,
    }[operation]() & ONES


def jumps(condition: int, a: int, b: int) -> bool:
    return {0x10: a == b, 0x20: a > b, 0x30: a >= b, 0x40: bool(a & b)}[condition]


def accepts(program: list[tuple[int, int, int, int]], packet: bytes) -> bool:
    try:
        return _run(program, packet)
    except RejectedError:
        return False


def _run(program: list[tuple[int, int, int, int]], packet: bytes) -> bool:  # noqa: C901 - a machine
    a, x, scratch, here = 0, 0, [0] * 16, 0
    while True:
        code, jt, jf, k = program[here]
        here += 1
        kind, operand = code & 7, x if code & 8 else k
        if kind in {0, 1}:
            value = _loaded(code, k, x, scratch, packet)
            a, x = (value, x) if kind == 0 else (a, value)
        elif kind in {2, 3}:
            scratch[k] = a if kind == 2 else x
        elif kind == 4:
            a = alu(code & 0xF0, a, operand)
        elif kind == 5 and code & 0xF0 == 0:
            here += k
        elif kind == 5:
            here += jt if jumps(code & 0xF0, a, operand) else jf
        elif kind == 6:
            return bool(a if code & 0x18 == 0x10 else k)
        elif code & 0x80:
            a = x
        else:
            x = a


def _loaded(code: int, k: int, x: int, scratch: list[int], packet: bytes) -> int:
    mode, size = code & 0xE0, {0x00: 4, 0x08: 2, 0x10: 1}.get(code & 0x18, 0)
    if mode == 0x00:
        return k
    if mode == 0x20:
        return load(packet, k, size)
    if mode == 0x40:
        return load(packet, k + x, size)
    if mode == 0x60:
        return scratch[k]
    if mode == 0x80:
        return len(packet)
    return 4 * (load(packet, k, 1) & 0xF)
