"""What a change is refused for, whatever is bound; seen through the writer."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import numpy as np
import pytest

from dstmrouter.pipeline.acceptance import Applied
from tests.pipeline.test_binding_writer import CLIENTS, POOL, TEP4, TEPS, Setup, puts


@pytest.mark.parametrize(
    ("client6", "usable"),
    [
        ("2001:db8::1", True),
        ("fd00::1", True),
        ("64:ff9b::1", True),
        ("ff02::1", False),
        ("fe80::1", False),
        ("febf::1", False),
        ("fec0::1", True),
        ("::", False),
        ("::1", False),
        ("::198.51.100.1", False),
        (str(TEPS[1]), False),
    ],
)
def test_r10_clients_are_usable_unicast_addresses_and_not_ours(
    client6: str, *, usable: bool
) -> None:
    result = Setup(2).put("server", (POOL[5], IPv6Address(client6)))
    reasons = {} if usable else {"client6 is not a usable unicast address": 1}
    assert (result.applied, result.reasons) == (int(usable), reasons)


def test_each_change_is_counted_under_the_first_reason_against_it() -> None:
    setup = Setup(8)
    columns = puts(
        (IPv4Address("198.51.100.1"), CLIENTS[0]),
        (TEP4, CLIENTS[0]),
        (POOL[5], CLIENTS[1]),
        (POOL[6], CLIENTS[2]),
        (POOL[7], CLIENTS[3]),
    )
    columns.tep[2], columns.op[3] = 2, 7
    assert setup.writer.apply("server", columns, 0) == Applied(
        1,
        {
            "address in no pool of this router": 1,
            "address is tep4": 1,
            "tep6 not of this router": 1,
            "operation unknown": 1,
        },
    )


def test_counts_of_a_reason_are_added_up() -> None:
    result = Applied(3)
    for _ in range(2):
        result.refuse(np.array([True, False, True]), "why")
    result.refuse(np.zeros(3, np.bool_), "not at all")
    assert (result.reasons, result.refused) == ({"why": 4}, 4)
