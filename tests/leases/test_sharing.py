from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dstmrouter.errors import ConfigError
from dstmrouter.leases.sharing import WHOLE, Sharing
from dstmrouter.protocols.granted import PortSet

SHARINGS = st.builds(Sharing, st.integers(0, 5), st.integers(1, 10))


def ports_of(sharing: Sharing, psid: int) -> set[int]:
    found = sharing.port_set(psid)
    assert found is not None
    return {port for first, last in found.ranges for port in range(first, last + 1)}


@pytest.mark.parametrize(
    ("sharing", "psid", "ranges", "ports"),
    [
        (Sharing(6, 8), 0x34, [(1232, 1235), (2256, 2259)], 252),  # RFC 7597 appendix A
        (Sharing(0, 6), 1, [(1024, 2047)], 1024),
        (Sharing(0, 4), 15, [(61440, 65535)], 4096),
    ],
)
def test_examples(sharing: Sharing, psid: int, ranges: list[tuple[int, int]], ports: int) -> None:
    found = sharing.port_set(psid)
    assert found == PortSet(psid_offset=sharing.psid_offset, psid_len=sharing.psid_len, psid=psid)
    assert found.ranges[:2] == ranges
    assert len(ports_of(sharing, psid)) == ports


@given(SHARINGS)
def test_lent_sets_do_not_overlap_and_have_no_system_ports(sharing: Sharing) -> None:
    psids = range(sharing.first_psid, sharing.first_psid + sharing.sets)
    assert psids[-1] == (1 << sharing.psid_len) - 1
    sets = [ports_of(sharing, psid) for psid in {*psids[:3], *psids[-3:]}]
    for ports in sets:
        assert min(ports) >= 1024
    assert sum(map(len, sets)) == len(set().union(*sets))


@given(SHARINGS, st.integers(1024, 65535))
def test_the_psid_of_a_port_is_that_of_its_set(sharing: Sharing, port: int) -> None:
    psid = (port >> (16 - sharing.psid_offset - sharing.psid_len)) & ((1 << sharing.psid_len) - 1)
    in_set = port in ports_of(sharing, psid)
    assert in_set == (not sharing.psid_offset or port >> (16 - sharing.psid_offset) > 0)


@pytest.mark.parametrize(("length", "first"), [(4, 1), (6, 1), (7, 2), (8, 4), (10, 16)])
def test_sets_with_system_ports_are_not_lent(length: int, first: int) -> None:
    sharing = Sharing(0, length)
    assert sharing.first_psid == first
    assert sharing.sets == (1 << length) - first


def test_a_whole_address_is_one_lease_without_a_port_set() -> None:
    assert (WHOLE.first_psid, WHOLE.sets, WHOLE.port_set(0)) == (0, 1, None)


@pytest.mark.parametrize(("offset", "length"), [(7, 4), (0, 13), (-1, 4), (6, 11), (3, 0)])
def test_what_cannot_be_shared(offset: int, length: int) -> None:
    with pytest.raises(ConfigError, match="psid"):
        Sharing(offset, length)
