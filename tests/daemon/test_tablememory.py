from __future__ import annotations

import mmap
import os
from typing import Any

import pytest

from dstmrouter.daemon import tablememory
from dstmrouter.daemon.tablememory import HUGE


def test_two_mappings_of_one_memory() -> None:
    fd = tablememory.create(5000)
    one, other = tablememory.attach(fd), tablememory.attach(fd)
    assert len(one) >= 5000
    assert bytes(one) == bytes(len(one))
    one[4999] = 7
    assert other[4999] == 7
    assert not os.get_inheritable(fd)
    os.close(fd)


def test_private_memory_is_zeroed_and_as_large_as_said() -> None:
    memory = tablememory.private(5000)
    assert bytes(memory) == bytes(5000)
    memory[4999] = 7
    assert memory[4999] == 7


class System:
    """Huge pages of a system, without one: requests for them end as ordinary ones."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, known: bool, pages: int) -> None:
        self._known, self._pages = known, pages
        self.sizes: list[int] = []
        self._create, self._map = os.memfd_create, mmap.mmap
        monkeypatch.setattr(os, "memfd_create", self.create)
        monkeypatch.setattr(mmap, "mmap", self.map)

    def create(self, name: str, flags: int) -> int:
        if flags & os.MFD_HUGETLB and not self._known:
            raise OSError(22, "Invalid argument")
        return self._create(name, flags & os.MFD_CLOEXEC)

    def map(self, fd: int, size: int) -> Any:
        self.sizes.append(size)
        if size % HUGE == 0 and size > self._pages * HUGE:
            raise OSError(12, "Cannot allocate memory")
        return self._map(fd, size)


@pytest.mark.parametrize(
    ("known", "pages", "expected"),
    [(True, 3, 3 * HUGE), (True, 2, 2 * HUGE + 4096), (False, 3, 2 * HUGE + 4096)],
)
def test_all_of_it_is_on_huge_pages_or_nothing(
    monkeypatch: pytest.MonkeyPatch, *, known: bool, pages: int, expected: int
) -> None:
    open_before = len(os.listdir("/proc/self/fd"))
    system = System(monkeypatch, known=known, pages=pages)
    fd = tablememory.create(2 * HUGE + 4096)
    assert os.fstat(fd).st_size == expected
    assert system.sizes == ([3 * HUGE] if known else [])
    os.close(fd)
    assert len(os.listdir("/proc/self/fd")) == open_before
