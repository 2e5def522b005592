"""What a run of a case is compared with: frames by side, and counters through a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from dstmrouter.pipeline.verdict import Verdict
from tests.vectors import differences, setting
from tests.vectors.case import VARIABLE, Case, all_cases

if TYPE_CHECKING:
    from _pytest.mark.structures import ParameterSet

COUNTERS: Final = {
    "drop-no-dest-softwire-ipv4-packets": ("DROP_NO_BINDING", "DROP_NOT_POOL"),
    "drop-no-source-softwire-ipv6-packets": (
        "DROP_SPOOF_ADDRESS",
        "DROP_SPOOF_CLIENT",
        "DROP_SPOOF_PORT",
        "DROP_NOT_TEP6",
    ),
    "hairpin-ipv4-packets": ("HAIRPINNED",),
    "drop-misplaced-not-ipv4-packets": ("DROP_NOT_TEP6",),
    "drop-ttl-zero-ipv4-packets": ("DROP_TTL",),
    "drop-over-time-but-not-hop-limit-icmpv6-packets": ("DROP_ICMPV6_NOTED",),
    "in-ipv6-frag-reassembled": ("KEPT_JOINED",),
    "out-ipv6-frag": ("FRAGMENTED", "SENT_PIECE"),
    "out-icmpv4-error-packets": (
        "SENT_TTL",
        "SENT_HOST_UNREACHABLE",
        "SENT_TOO_BIG",
        "SENT_RELAYED_UNREACHABLE",
        "SENT_RELAYED_TOO_BIG",
    ),
    "out-icmpv6-error-packets": ("SENT_ICMPV6_SPOOF",),
    "drop-ipv6-frag-invalid-reassembly": ("DROP_PIECE_LIMIT",),
    "drop-bad-checksum-icmpv4-packets": ("DROP_ICMP_DAMAGED",),
    "drop-over-mtu-but-dont-fragment-ipv4-packets": ("DROP_TOO_BIG",),
}
"""Counters of the original, and ours that add up to the same."""
COUNTED_OTHERWISE: Final[dict[tuple[str, str], int]] = {
    ("24", "drop-ipv6-frag-invalid-reassembly"): 2,  # pieces, and not datagrams
    ("36", "drop-no-source-softwire-ipv6-packets"): 0,  # DROP_V4_CHECKSUM
    ("38", "drop-no-source-softwire-ipv6-packets"): 0,
    ("38", "out-icmpv6-error-packets"): 0,
    ("58", "out-ipv6-frag"): 0,  # the pieces that came have gone through
    ("66", "out-icmpv4-error-packets"): 0,
    ("44", "drop-no-dest-softwire-ipv4-packets"): 0,  # it has one
    ("46", "hairpin-ipv4-packets"): 0,  # it did not get so far
}
"""By case: what the difference makes of a counter."""


def number(case: Case) -> str:
    """Of a case or its repaired variant."""
    return case.number + ("-repaired" if case.name.endswith("-repaired") else "")


def cases() -> list[ParameterSet]:
    """All cases in all their variants, as parameters of a test; a skip if there are none."""
    found = [variant for case in all_cases() for variant in differences.variants(case)]
    if not found:
        missing = pytest.mark.skip(reason=f"no packet cases; {VARIABLE} may name their directory")
        return [pytest.param(None, marks=missing, id="none")]
    found.sort(key=setting.key)  # those that one router can serve come together
    return [pytest.param(case, id=case.name) for case in found]


def check_frames(case: Case, out4: tuple[bytes, ...], out6: tuple[bytes, ...]) -> None:
    """Each side, in order, octet by octet."""
    for side, found, expected in (("v4", out4, case.expect4), ("v6", out6, case.expect6)):
        got = differences.comparable(case, found)
        wanted = differences.comparable(case, expected)
        assert len(got) == len(wanted), side
        assert [frame.hex() for frame in got] == [frame.hex() for frame in wanted], side


def check_counters(case: Case, counted: dict[str, int]) -> None:
    """Ours, by name of verdict, against those of the original."""
    unknown = counted.keys() - {verdict.name for verdict in Verdict}
    assert not unknown
    for theirs, ours in COUNTERS.items():
        wanted = dict(case.counters).get(theirs, 0)
        if not case.name.endswith("-repaired"):
            wanted = COUNTED_OTHERWISE.get((case.number, theirs), wanted)
        if theirs in dict(case.counters):
            assert sum(counted.get(name, 0) for name in ours) == wanted, theirs
