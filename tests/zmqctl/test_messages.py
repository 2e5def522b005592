from __future__ import annotations

import dataclasses
from ipaddress import IPv4Address
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dstmrouter.binding import BindingColumns
from dstmrouter.errors import DecodeError
from dstmrouter.zmqctl import messages
from dstmrouter.zmqctl.columns import ROWS_MAX, TEP6_MAX
from dstmrouter.zmqctl.fields import EPOCH_OCTETS
from dstmrouter.zmqctl.messages import (
    MESSAGE_MAX,
    Ack,
    Alive,
    Call,
    Delta,
    Failure,
    Heartbeat,
    Message,
    Push,
    Pushed,
    Reply,
    SnapshotPart,
    SnapshotRequest,
    UsageChanged,
    UsageEnded,
    decode,
    encode,
)
from dstmrouter.zmqctl.usage_columns import UsageColumns, pack_usage
from tests.zmqctl.samples import TEP6, puts
from tests.zmqctl.test_usage_columns import columns as usage

EPOCH = bytes(range(EPOCH_OCTETS))
SAMPLES: list[Message] = [
    Call(id=1, method="lease.grant", params={"client6": "2001:db8::7", "n": [1, None]}),
    Reply(id=1, result={"ok": True}),
    Failure(id=1, reason="no-address", text="pool is empty"),
    Heartbeat(epoch=EPOCH, generation=7, interval_ms=5000),
    Delta(epoch=EPOCH, generation=8, bindings=puts(0, 3)),
    Delta(epoch=EPOCH, generation=9, bindings=puts(0, 3), store=bytes(16), version=12),
    SnapshotRequest(router="r1", epoch=EPOCH, generation=7, part=0),
    SnapshotPart(epoch=EPOCH, generation=7, part=0, parts=2, age_s=0, bindings=puts(0, 5)),
    Alive(router="r1", epoch=b"", generation=0, rows=0, refused=0),
    Ack(router="r1", epoch=EPOCH, generation=8, applied=3, refused=0, rows=3),
    Push(id=2, source="radius", replace=True, part=0, parts=1, bindings=puts(0, 2)),
    Pushed(id=2, applied=1, refused=1, rows=1, reasons={"not-in-pool": 1}),
    UsageChanged(epoch=EPOCH, generation=3, at_ms=1_790_000_000_250, bindings=usage(2)),
    UsageEnded(epoch=EPOCH, generation=4, after=7, bindings=usage(2, [1.5, 1_790_000_000.25])),
]


def plain(message: Message) -> dict[str, Any]:
    """Comparable: arrays as lists."""
    fields = {f.name: getattr(message, f.name) for f in dataclasses.fields(message)}
    columns = fields.get("bindings")
    if isinstance(columns, BindingColumns):
        fields["bindings"] = [
            np.asarray(getattr(columns, f.name)).tolist() for f in dataclasses.fields(columns)
        ]
    if isinstance(columns, UsageColumns):
        fields["bindings"] = pack_usage(columns)
    return {"type": message.TYPE} | fields


@pytest.mark.parametrize("message", SAMPLES, ids=lambda message: message.TYPE)
def test_decoding_gives_back_every_message(message: Message) -> None:
    assert plain(decode(encode(message))) == plain(message)


def test_samples_have_every_type() -> None:
    assert {message.TYPE for message in SAMPLES} == set(messages._CLASSES)


@pytest.mark.parametrize("message", SAMPLES, ids=lambda message: message.TYPE)
def test_each_field_is_required(message: Message) -> None:
    body = msgpack.unpackb(encode(message))
    for name in set(body) - {"v", "type"} - messages._OPTIONAL[type(message)]:
        with pytest.raises(DecodeError, match=f"{message.TYPE}: {name} is missing"):
            decode(msgpack.packb({key: value for key, value in body.items() if key != name}))


@pytest.mark.parametrize("message", SAMPLES, ids=lambda message: message.TYPE)
@pytest.mark.parametrize("wrong", [None, -1, 1.5, "with space", [], b"x" * 17, 2**63])
def test_wrong_value_is_named(message: Message, wrong: object) -> None:
    body = msgpack.unpackb(encode(message))
    for name in set(body) - {"v", "type", "text"}:
        with pytest.raises(DecodeError, match=name):
            decode(msgpack.packb(body | {name: wrong}))


def test_what_is_as_by_default_is_left_out() -> None:
    body = msgpack.unpackb(encode(Delta(epoch=EPOCH, generation=8, bindings=puts(0, 3))))
    assert set(body) == {"v", "type", "epoch", "generation", "bindings"}


def test_what_has_ended_says_when() -> None:
    body = msgpack.unpackb(encode(SAMPLES[-1]))
    del body["bindings"]["until"]
    with pytest.raises(DecodeError, match="usage-ended: bindings: usage: until is missing"):
        decode(msgpack.packb(body))


def test_unknown_keys_are_ignored() -> None:
    body = msgpack.unpackb(encode(SAMPLES[3])) | {"colour": "blue"}
    assert decode(msgpack.packb(body)) == SAMPLES[3]


@pytest.mark.parametrize(
    ("octets", "text"),
    [
        (b"", "no msgpack map"),
        (b"\xc1", "no msgpack map"),
        (b"\x93\x01\x02\x03", "top level"),
        (b"\x80", "version None"),
        (b"\x80\x80", "ExtraData"),
        (b"\x91" * 5000, "no msgpack map"),
        (b"\xdd\xff\xff\xff\xff", "no msgpack map"),
        (b"\xc7\x05\x01hello", "no msgpack map"),
        (msgpack.packb({"v": 2, "type": "call"}), "version 2"),
        (msgpack.packb({"v": 1, "type": "nonsense"}), "unknown message type"),
        (msgpack.packb({"v": 1, "type": {}}), "unknown message type"),
        (b"\x81\xa1v\xa1\xff", "no msgpack map"),
        (b"\x81\x01\x02", "no msgpack map"),
        (msgpack.packb({"v": 1, "type": "reply", "id": 1, "result": {b"k": 1}}), "text keys"),
        (b"\0" * (MESSAGE_MAX + 1), "the limit is"),
    ],
)
def test_bytes_that_are_no_message(octets: bytes, text: str) -> None:
    with pytest.raises(DecodeError, match=text):
        decode(octets)


def outcome(octets: bytes) -> str:
    """The type of the message, or the line that says what is wrong; nothing else may happen."""
    try:
        return str(decode(octets).TYPE)
    except DecodeError as error:
        return str(error)


@given(st.binary(max_size=200))
def test_any_bytes_give_a_message_or_a_decode_error(octets: bytes) -> None:
    assert "\n" not in outcome(octets)


@given(st.sampled_from(SAMPLES), st.data())
def test_any_damaged_message_gives_a_message_or_a_decode_error(
    message: Message, data: st.DataObject
) -> None:
    octets = bytearray(encode(message))
    for _ in range(data.draw(st.integers(1, 4))):
        octets[data.draw(st.integers(0, len(octets) - 1))] = data.draw(st.integers(0, 255))
    del octets[data.draw(st.integers(0, len(octets))) :]
    assert "\n" not in outcome(bytes(octets))


def test_largest_message_is_within_the_limit() -> None:
    columns = puts(0, ROWS_MAX)
    full = dataclasses.replace(columns, tep6=(TEP6,) * TEP6_MAX)
    push = Push(id=2**53 - 1, source="s" * 64, replace=True, part=65535, parts=65536, bindings=full)
    assert len(encode(push)) <= MESSAGE_MAX


def test_results_may_hold_addresses_and_numpy_numbers() -> None:
    result = {"ipv4": IPv4Address("192.0.2.1"), "rows": np.uint64(3), "share": np.float64(0.5)}
    expected = {"ipv4": "192.0.2.1", "rows": 3, "share": 0.5}
    assert decode(encode(Reply(id=1, result=result))) == Reply(id=1, result=expected)


def test_other_objects_have_no_place_in_a_message() -> None:
    with pytest.raises(TypeError, match="object has no place"):
        encode(Reply(id=1, result={"x": object()}))
