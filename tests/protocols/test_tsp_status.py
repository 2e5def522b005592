from __future__ import annotations

import pytest

from dstmrouter.protocols.tsp_status import Status, TspError


@pytest.mark.parametrize("status", Status, ids=lambda status: status.name)
def test_a_status_is_three_digits_and_a_text(status: Status) -> None:
    line = status.line()
    assert line == b"%d %s\r\n" % (int(status), status.text.encode())
    assert status.line(redirected=True)[:5] == b"1%d " % int(status)
    assert 200 <= status < 600
    assert status.help


def test_the_length_that_the_specification_gives() -> None:
    assert len(Status.NO_TUNNEL.line()) == 31
    assert len(Status.SUCCESS.line()) == 13


def test_an_error_carries_what_the_peer_is_told() -> None:
    error = TspError(Status.BAD_IPV6, "not yours")
    assert (error.status, str(error)) == (Status.BAD_IPV6, "not yours")
