"""Octets of memory by address, for compiled code: what C calls a pointer.

Numba counts references to arrays at every call of a function that takes them, which costs more than
a packet; an address is a number. Nothing is checked: addresses come from `views`, offsets from
packets that were found to be long enough. All numbers are uint64, because Numba makes floats of
signed and unsigned ones together. Loads and stores need no alignment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

from llvmlite import ir
from numba import carray, njit, types
from numba.core import cgutils
from numba.extending import intrinsic

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    import numpy.typing as npt

    Load: TypeAlias = "Callable[[np.uint64], np.uint64]"
    Store: TypeAlias = "Callable[[np.uint64, np.uint64], None]"
    Copy: TypeAlias = "Callable[[np.uint64, np.uint64, np.uint64], None]"
    Fetch: TypeAlias = "Callable[[np.uint64], None]"
    Numbers: TypeAlias = "Callable[[np.uint64, int], tuple[np.uint64, ...]]"
    Words: TypeAlias = "Callable[[np.uint64, int | np.uint64], npt.NDArray[np.uint64]]"

_WORD: Final = ir.IntType(64)
_LOADS: Final = types.uint64(types.uint64)
_STORES: Final = types.void(types.uint64, types.uint64)
_FETCHES: Final = types.void(types.uint64)


def _pointer(builder: ir.IRBuilder, address: ir.Value, bits: int) -> ir.Value:
    return builder.inttoptr(address, ir.IntType(bits).as_pointer())


def _widened(builder: ir.IRBuilder, value: ir.Value, bits: int) -> ir.Value:
    return value if bits == _WORD.width else builder.zext(value, _WORD)


def _load(bits: int, *, swapped: bool = False) -> Load:
    def generate(_context: Any, builder: ir.IRBuilder, _signature: Any, args: Any) -> ir.Value:
        value = builder.load(_pointer(builder, args[0], bits), align=1)
        return _widened(builder, builder.bswap(value) if swapped else value, bits)

    return cast("Load", intrinsic(lambda context, address: (_LOADS, generate)))


def _store(bits: int, *, swapped: bool = False) -> Store:
    def generate(context: Any, builder: ir.IRBuilder, _signature: Any, args: Any) -> ir.Value:
        address, value = args
        if bits != _WORD.width:
            value = builder.trunc(value, ir.IntType(bits))
        value = builder.bswap(value) if swapped else value
        builder.store(value, _pointer(builder, address, bits), align=1)
        return context.get_dummy_value()

    return cast("Store", intrinsic(lambda context, address, value: (_STORES, generate)))


def _swap(bits: int) -> Load:
    def generate(_context: Any, builder: ir.IRBuilder, _signature: Any, args: Any) -> ir.Value:
        part = builder.trunc(args[0], ir.IntType(bits))
        return _widened(builder, builder.bswap(part), bits)

    return cast("Load", intrinsic(lambda context, value: (_LOADS, generate)))


def _observe() -> Load:
    def generate(_context: Any, builder: ir.IRBuilder, _signature: Any, args: Any) -> ir.Value:
        value = builder.load_atomic(_pointer(builder, args[0], 32), "acquire", 4)
        return builder.zext(value, _WORD)

    return cast("Load", intrinsic(lambda context, address: (_LOADS, generate)))


def _publish() -> Store:
    def generate(context: Any, builder: ir.IRBuilder, _signature: Any, args: Any) -> ir.Value:
        value = builder.trunc(args[1], ir.IntType(32))
        builder.store_atomic(value, _pointer(builder, args[0], 32), "release", 4)
        return context.get_dummy_value()

    return cast("Store", intrinsic(lambda context, address, value: (_STORES, generate)))


def _copy() -> Copy:
    def generate(context: Any, builder: ir.IRBuilder, _signature: Any, args: Any) -> ir.Value:
        target, source = (_pointer(builder, address, 8) for address in args[:2])
        cgutils.raw_memcpy(builder, target, source, args[2], 1)
        return context.get_dummy_value()

    copies = types.void(types.uint64, types.uint64, types.uint64)
    return cast("Copy", intrinsic(lambda context, target, source, size: (copies, generate)))


def _words() -> Words:
    words = types.CPointer(types.uint64)

    def generate(_context: Any, builder: ir.IRBuilder, _signature: Any, args: Any) -> ir.Value:
        return _pointer(builder, args[0], _WORD.width)

    place = intrinsic(lambda context, address: (words(types.uint64), generate))

    @njit(forceinline=True)  # type: ignore[untyped-decorator]
    def words_at(address: np.uint64, count: int | np.uint64) -> Any:
        return carray(place(address), count)

    return cast("Words", words_at)


def _numbers() -> Numbers:
    def type_of(_context: Any, _address: Any, count: Any) -> Any:
        assert isinstance(count, types.IntegerLiteral), "the length of a tuple is a constant"
        row = types.UniTuple(types.uint64, count.literal_value)

        def generate(context: Any, builder: ir.IRBuilder, _signature: Any, args: Any) -> ir.Value:
            first = _pointer(builder, args[0], _WORD.width)
            places = (builder.gep(first, [_WORD(n)]) for n in range(row.count))
            return context.make_tuple(builder, row, [builder.load(at, align=1) for at in places])

        return row(types.uint64, count), generate

    return cast("Numbers", intrinsic(prefer_literal=True)(type_of))


def _prefetch(*, write: bool, locality: int = 3) -> Fetch:
    def generate(context: Any, builder: ir.IRBuilder, _signature: Any, args: Any) -> ir.Value:
        octet, number = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [octet, number, number, number])
        name = "llvm.prefetch.p0i8"
        function = builder.module.globals.get(name) or ir.Function(builder.module, kind, name)
        hints = [ir.Constant(number, n) for n in (int(write), locality, 1)]  # 1: data
        builder.call(function, [builder.inttoptr(args[0], octet), *hints])
        return context.get_dummy_value()

    return cast("Fetch", intrinsic(lambda context, address: (_FETCHES, generate)))


load8, load16, load32, load64 = (_load(bits) for bits in (8, 16, 32, 64))
store8, store16, store32, store64 = (_store(bits) for bits in (8, 16, 32, 64))
load16_wire, load32_wire = (_load(bits, swapped=True) for bits in (16, 32))
"""Big-endian, as on the wire."""
store16_wire = _store(16, swapped=True)
swapped16, swapped32 = _swap(16), _swap(32)
"""The lower 16 or 32 bits of a word with their octets reversed; the result has no others."""
observe32, publish32 = _observe(), _publish()
"""Load and store words, at multiples of four, that another thread or the kernel looks at, too:
nothing that comes behind an `observe32` is done before it, nothing before a `publish32` behind it.
"""
copy = _copy()
"""Copy octets to an address from another one; they do not overlap."""
words = _words()
"""An array of the words from an address on: what memory that Python holds is to compiled code. To
give Numba an array costs 0.2 us, a number a tenth of that.
"""
numbers = _numbers()
"""The words from an address on as a tuple, of a length that is a constant: each is loaded once.
Numba's `to_fixed_tuple` puts them in one by one and copies all for each, 0.4 us for thirty.
"""
prefetch, prefetch_to_write = _prefetch(write=False), _prefetch(write=True)
"""Have the cache line at an address fetched; harmless for any address."""
prefetch_far = _prefetch(write=False, locality=2)
"""The same as far as the second level of caches: the first need not hold it for so long."""
