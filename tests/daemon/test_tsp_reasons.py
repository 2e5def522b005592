"""What clients are told when the rules say no."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

from dstmrouter.daemon import lending
from dstmrouter.daemon.rpc_leases import STATS
from dstmrouter.daemon.tsp_desk import REASONS
from dstmrouter.leases import book, choice, lease, quota, rate

MODULES = (book, choice, lease, lending, quota, rate)


def reasons() -> set[str]:
    """All that the rules can give."""
    sources = [Path(inspect.getfile(module)) for module in MODULES]
    text = "".join(path.read_text(encoding="utf-8") for path in sources)
    quotas = {f"quota-{prefix_len}" for prefix_len in (48, 64)}  # made from the prefix
    return set(re.findall(r'LeaseError\("([a-z0-9-]+)"', text)) | quotas


def test_every_reason_has_a_tsp_status() -> None:
    assert set(REASONS) == reasons() - {"not-held"}  # which only operators can hear


def test_no_rpc_stat_is_for_a_reason_that_there_is_not() -> None:
    assert set(STATS) <= reasons()
