"""That it is used; what it does is tested as what `XdpFramePort` does, in test_xdpport."""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from tests.io.conftest import collect, drain
from tests.io.framebench import ENOUGH, Bench

if TYPE_CHECKING:
    from tests.io.conftest import Veth

pytestmark = [
    pytest.mark.netns,
    pytest.mark.skipif(os.geteuid() != 0, reason="AF_XDP needs root"),
]


def test_frames_are_sent_without_python(pairs: list[Veth], monkeypatch: pytest.MonkeyPatch) -> None:
    with ExitStack() as undo:
        bench = Bench(pairs[0], undo)
        bench.port.use_compiled()
        bench.transmit(ENOUGH)
        bench.port.flush()  # looks what socket and device are like
        drain(bench.tap)
        bench.reclaim()
        monkeypatch.delattr("dstmrouter.io.xdpframes.FrameSender.send")
        sent = bench.transmit(ENOUGH)
        bench.port.flush()
        assert collect(bench.tap, ENOUGH) == sent
