from __future__ import annotations

from dstmrouter.protocols.clientaction import Reason, Tell
from tests.protocols.leases import lease


def test_a_lease_in_use_is_told_without_a_reason() -> None:
    assert (Tell(lease()).ended, Tell(lease()).renewed) == (None, False)
    assert {reason.value for reason in Reason} == {"expired", "moved", "released", "replaced"}
