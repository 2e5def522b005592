from __future__ import annotations

import dataclasses
import os

import pytest

from dstmrouter.daemon.plan import read_plan, write_plan
from dstmrouter.daemon.shared import SharedTables
from tests.daemon.plans import SIZES, plan


def test_plan_comes_through_its_descriptor() -> None:
    wanted = plan(SharedTables.create(SIZES), "port4")
    fd = write_plan(wanted)
    assert not os.get_inheritable(fd)
    assert read_plan(fd) == wanted
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)  # a worker keeps nothing open that it does not need


def test_only_needed_descriptors_are_inherited() -> None:
    made = plan(SharedTables.create(SIZES), "port4")
    assert made.descriptors() == [made.tables_fd]
    [port] = made.ports
    xdp = dataclasses.replace(port, xskmap_fd=77)
    assert dataclasses.replace(made, ports=(port, xdp)).descriptors() == [made.tables_fd, 77]
