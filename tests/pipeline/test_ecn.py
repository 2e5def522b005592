from __future__ import annotations

import pytest

from dstmrouter.pipeline import ecn
from tests.oracle_tables import ECN_AT_EXIT


@pytest.mark.parametrize("pair", sorted(ECN_AT_EXIT))
@pytest.mark.parametrize("uniform", [True, False])
def test_r14_all_cells_with_any_dscp(pair: tuple[int, int], *, uniform: bool) -> None:
    inner, outer = pair
    leaves, unusual = ECN_AT_EXIT[pair]
    leaving, judged = ecn.exit_table(dscp_uniform=uniform)
    for dscp_in, dscp_out in ((0, 0), (46, 0), (0, 46), (10, 63)):
        at = (dscp_out << 2 | outer) * 256 + (dscp_in << 2 | inner)
        if leaves is None:
            assert judged[at] == ecn.DROP
            continue
        assert judged[at] == (ecn.UNUSUAL if unusual else ecn.USUAL)
        assert leaving[at] == (dscp_out if uniform else dscp_in) << 2 | leaves


def test_equal_marks_and_dscp_leave_as_they_are() -> None:
    """The pipeline relies on it: such packets are not looked up."""
    leaving, judged = ecn.exit_table(dscp_uniform=True)
    for tos in range(256):
        assert (leaving[tos * 257], judged[tos * 257]) == (tos, ecn.USUAL)
