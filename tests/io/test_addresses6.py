from __future__ import annotations

from ipaddress import IPv6Address
from typing import TYPE_CHECKING

import pytest

from dstmrouter.io.addresses6 import (
    IFA_F_DADFAILED,
    IFA_F_DEPRECATED,
    IFA_F_OPTIMISTIC,
    IFA_F_TEMPORARY,
    IFA_F_TENTATIVE,
    Address6,
    addresses6,
    kernel_source,
    lasting_source,
)
from lab.netns import Lab, veth, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab.netns import Namespace

LASTING, TEMPORARY, UNIQUE_LOCAL = (
    IPv6Address(text) for text in ("2001:db8::1", "2001:db8::dead", "fd00::1")
)
OTHER = IPv6Address("2001:db8:1::1")


def host(**flags: int) -> list[Address6]:
    """Lasting, temporary and unique local on one interface, one more on another."""
    return [
        Address6(UNIQUE_LOCAL, 2),
        Address6(TEMPORARY, 2, flags.get("temporary", IFA_F_TEMPORARY)),
        Address6(LASTING, 2, flags.get("lasting", 0)),
        Address6(OTHER, 3),
    ]


def test_lasting_and_like_what_the_kernel_prefers() -> None:
    assert lasting_source(host(), TEMPORARY, None) == LASTING
    assert lasting_source(host(), LASTING, None) == LASTING
    assert lasting_source(host(), UNIQUE_LOCAL, None) == UNIQUE_LOCAL
    assert lasting_source(host(), OTHER, None) == OTHER


@pytest.mark.parametrize("flags", [IFA_F_TENTATIVE, IFA_F_DADFAILED, IFA_F_DEPRECATED])
def test_unusable_and_deprecated_ones_are_avoided(flags: int) -> None:
    assert lasting_source(host(lasting=flags), TEMPORARY, None) == UNIQUE_LOCAL


def test_an_optimistic_address_is_usable() -> None:
    flags = IFA_F_TENTATIVE | IFA_F_OPTIMISTIC
    assert lasting_source(host(lasting=flags), TEMPORARY, None) == LASTING


def test_what_is_used_is_kept_until_it_is_deprecated_or_elsewhere() -> None:
    assert lasting_source(host(), LASTING, UNIQUE_LOCAL) == UNIQUE_LOCAL
    assert lasting_source(host(), LASTING, OTHER) == LASTING
    deprecated = host(lasting=IFA_F_DEPRECATED)
    assert lasting_source(deprecated, TEMPORARY, LASTING) == UNIQUE_LOCAL
    alone = [Address6(LASTING, 2, IFA_F_DEPRECATED)]
    assert lasting_source(alone, LASTING, LASTING) == LASTING


def test_the_interface_has_none_left() -> None:
    assert lasting_source([], LASTING, LASTING) is None


@pytest.fixture
def space() -> Iterator[Namespace]:
    with Lab() as lab:
        space, other = lab.namespace("host"), lab.namespace("other")
        veth((space, "eth0"), (other, "eth0"))
        space.address("eth0", f"{LASTING}/64")
        yield space


@pytest.mark.netns
def test_the_kernels_addresses_and_choice(space: Namespace) -> None:
    space.ip("address", "add", f"{OTHER}/64", "dev", "eth0", "preferred_lft", "0", "nodad")
    with space.entered():
        found = {one.address: one for one in addresses6()}
        assert set(found) == {LASTING, OTHER}
        assert (found[LASTING].deprecated, found[OTHER].deprecated) == (False, True)
        assert kernel_source(IPv6Address("2001:db8::99")) == LASTING
        assert kernel_source(IPv6Address("2001:db8::99"), "eth0") == LASTING
        assert kernel_source(IPv6Address("2001:db8::99"), "none0") is None
        assert kernel_source(IPv6Address("2001:db8:9::1")) is None
        assert kernel_source(IPv6Address("fe80::9")) is None


@pytest.mark.netns
def test_temporary_addresses_of_the_kernel(space: Namespace) -> None:
    space.sysctl({"net.ipv6.conf.eth0.use_tempaddr": "2"})
    managed = "2001:db8:7::1"
    lifetimes = ["valid_lft", "3600", "preferred_lft", "1800"]
    space.ip("address", "add", f"{managed}/64", "dev", "eth0", "mngtmpaddr", "nodad", *lifetimes)

    def temporary() -> list[IPv6Address]:
        with space.entered():
            return [one.address for one in addresses6() if one.temporary and one.usable]

    wait_until(temporary, "a temporary address")
    with space.entered():
        assert lasting_source(addresses6(), temporary()[0], None) == IPv6Address(managed)
