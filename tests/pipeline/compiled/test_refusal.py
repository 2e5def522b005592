"""Which packets to nobody end in the pass; that they end as the steps say, `test_forward` shows."""

from __future__ import annotations

import numpy as np
import pytest

from dstmrouter.jit.functions import address
from dstmrouter.pipeline.bindings import ROW, RowKind
from dstmrouter.pipeline.compiled import refusal
from dstmrouter.pipeline.compiled.views import ALL, Burst, Columns
from dstmrouter.pipeline.limits import Limiter, Rates
from dstmrouter.pipeline.verdict import Verdict
from tests.pipeline.packets import ipv4

U = np.uint64
KIND, MOST = 7, 1 << 20


@pytest.mark.parametrize("kind", RowKind)
@pytest.mark.parametrize("verdict", [Verdict.ENCAPSULATED, Verdict.DECAPSULATED])
@pytest.mark.parametrize("src", ["198.51.100.1", "127.0.0.1"])
def test_nobody_is_an_unbound_address_asked_for_from_outside(
    kind: RowKind, verdict: Verdict, src: str
) -> None:
    octets, rows = np.frombuffer(ipv4(src=src), np.uint8), np.zeros(1, ROW)
    rows["kind"] = kind
    columns = {
        "inner_at": np.array([address(octets)]),
        "row": np.array([address(rows)]),
        "verdict": np.array([verdict], np.uint8),
    }
    fields = dict.fromkeys(Burst._fields, U(0)) | {k: address(c) for k, c in columns.items()}
    expected = kind == RowKind.UNBOUND and verdict == Verdict.ENCAPSULATED and src != "127.0.0.1"
    assert refusal.is_refused(Burst(**fields), U(0), U(ALL)) == expected


def test_prefixes_have_tokens_as_the_limiter_says() -> None:
    limiter = Limiter(Rates(total=10**6, prefix=10, prefix_burst=2), 0x123456789ABCDEF1)
    sources = np.random.default_rng(3).integers(0, 1 << 32, 400)
    prefixes = (sources >> 8).astype(np.uint64)
    for now_s, taken in ((1.0, 300), (1.0, 300), (1.0, 200), (1.15, 100)):
        limiter.take(limiter.chance(KIND, prefixes[:taken], now_s, MOST), now_s)
        columns, standing = Columns(1), limiter.standing(KIND, now_s)
        standing.host_bits = 8
        columns.refuse(standing)
        record = address(columns.refusals)
        found = [bool(refusal.has_token(record, U(source))) for source in sources.tolist()]
        expected = np.zeros(len(sources), np.bool_)
        expected[limiter.chance(KIND, prefixes, now_s, MOST).keep] = True
        assert found == expected.tolist()
        assert not standing.exhausted
    assert {True, False} == set(found)


@pytest.mark.parametrize("exhausted", [True, False])
def test_all_end_here_where_no_error_can_be_sent(exhausted: bool) -> None:
    columns = Columns(1)
    limiter = Limiter(Rates(total=10, prefix=10, prefix_burst=20), 1)
    if exhausted:
        prefixes = np.zeros(10, np.uint64)
        assert len(limiter.take(limiter.chance(KIND, prefixes, 0, MOST), 0)) == 10
    columns.refuse(limiter.standing(KIND, 0))
    assert (columns.refusals["which"][0] == ALL) == exhausted
    columns.refuse(None)
    assert columns.refusals["which"][0] == ALL
