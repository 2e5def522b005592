"""Answers as values; `test_tsp_source_answers.py` has them from the wire."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest

from dstmrouter.daemon.lease_source import SourceError
from dstmrouter.daemon.tsp_granted import BUSY_S, granted, loss, refusal
from dstmrouter.protocols.tsp_client import Answered, Event, Failed, Redirected, Refused
from dstmrouter.protocols.tsp_xml import Action, End, Keepalive, Tunnel

CLIENT6 = IPv6Address("2001:db8::7")
LEASE = Tunnel(
    action=Action.INFO,
    lifetime_min=15,
    server=End(ipv4=IPv4Address("192.0.2.1"), ipv6=IPv6Address("2001:db8:f::1")),
    client=End(
        ipv4=IPv4Address("192.0.2.7"),
        ipv6=CLIENT6,
        keepalive=Keepalive(interval_s=0, address=IPv4Address("192.0.2.1")),
    ),
)


def test_a_lifetime_is_in_the_unit_of_the_account_and_no_keepalive_is_none() -> None:
    assert granted(CLIENT6, LEASE, 60).lifetime_s == 900
    lease = granted(CLIENT6, LEASE, 1)
    assert (lease.lifetime_s, lease.keepalive_s) == (15, None)
    with pytest.raises(SourceError, match="without server and client"):
        granted(CLIENT6, None, 60)


def test_what_a_refusal_says() -> None:
    assert (refusal(300).final, refusal(300).retry_after_s) == (True, None)
    assert (refusal(530).final, refusal(530).retry_after_s) == (False, BUSY_S)
    assert str(refusal(999)) == "refused: 999"


def test_word_of_a_lease() -> None:
    lease = granted(CLIENT6, LEASE, 60)
    held: list[Event] = [Answered(None), Answered(LEASE), Refused(500), Refused(303)]
    assert [loss(lease, event) for event in held] == [None] * 4
    lost: list[Event] = [Refused(301), Refused(310), Failed("x"), Redirected(("a",))]
    assert None not in [loss(lease, event) for event in lost]
