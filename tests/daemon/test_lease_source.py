from __future__ import annotations

from dstmrouter.daemon.lease_source import SourceError


def test_a_refusal_says_whether_and_when_to_ask_again() -> None:
    busy = SourceError("busy", retry_after_s=5)
    assert (str(busy), busy.retry_after_s, busy.final) == ("busy", 5, False)
    assert SourceError("no such user", final=True).final
