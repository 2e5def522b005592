"""Fixtures for tests with the real programs in network namespaces."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from lab.topology import CLIENT1, CLIENT2
from tests.netns.gateway import Gateway

if TYPE_CHECKING:
    from collections.abc import Iterator


LENT1, LENT2 = "203.0.113.1", "203.0.113.2"


@pytest.fixture(scope="module", autouse=True)
def _untraced(untraced: None) -> None:
    """What these tests run together is measured where it is tested alone."""


@pytest.fixture(scope="module", params=["auto", "generic", "packet_mmap"])
def served(request: pytest.FixtureRequest) -> Iterator[Gateway]:
    """A router in one of its modes, with a dstm-client on both client hosts and their leases."""
    with Gateway(mode=request.param) as gateway:
        gateway.start_router()
        lab = gateway.topology
        gateway.bind(LENT1, CLIENT1)
        gateway.bind(LENT2, CLIENT2)
        gateway.start_client(lab.client1, LENT1, CLIENT1)
        gateway.start_client(lab.client2, LENT2, CLIENT2)
        yield gateway
