"""The memfd of the shared tables: on huge pages where the system has set enough of them aside.

Random look-ups miss the TLB on pages of 4 KiB. The kernel has two ways to larger ones. Pages that
an administrator reserved (`vm.nr_hugepages`) are taken here, as many as the tables could ever need,
or none. Without them the kernel may still find some by itself, if it is allowed to do so
(/sys/kernel/mm/transparent_hugepage/shmem_enabled: `advise`).
"""

from __future__ import annotations

import contextlib
import mmap
import os
from typing import Final

HUGE: Final = 2 << 20  # octets of a huge page
_NAME: Final = "dstm-router"


def create(size: int) -> int:
    """Descriptor of at least `size` zeroed octets, not inherited."""
    with contextlib.suppress(OSError):  # none are reserved, or too few
        return _reserved(-(-size // HUGE) * HUGE)
    fd = os.memfd_create(_NAME, os.MFD_CLOEXEC)
    os.ftruncate(fd, size)
    return fd


def attach(fd: int) -> mmap.mmap:
    """Map all of it."""
    memory = mmap.mmap(fd, os.fstat(fd).st_size)
    with contextlib.suppress(OSError):  # it is on huge pages
        memory.madvise(mmap.MADV_HUGEPAGE)
    return memory


def private(size: int) -> mmap.mmap:
    """Zeroed memory of this process alone, on huge pages if the kernel gives any."""
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with contextlib.suppress(OSError):  # a kernel without them
        memory.madvise(mmap.MADV_HUGEPAGE)
    return memory


def _reserved(size: int) -> int:
    """A memfd for which `size` octets of huge pages are reserved; OSError if there are not."""
    fd = os.memfd_create(_NAME, os.MFD_CLOEXEC | os.MFD_HUGETLB | os.MFD_HUGE_2MB)
    try:
        os.ftruncate(fd, size)
        mmap.mmap(fd, size).close()  # reserves; the pages stay the file's
    except OSError:
        os.close(fd)
        raise
    return fd
