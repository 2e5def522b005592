from __future__ import annotations

import dataclasses
import os
from typing import TYPE_CHECKING

from dstmrouter.daemon.client_status import StatusBoard, boottime, read_status, status_file
from tests.dti.test_natrules import MANY
from tests.protocols.client_world import World
from tests.protocols.leases import FIRST4, HOME6, lease

if TYPE_CHECKING:
    from pathlib import Path


def test_what_is_shown_is_read_with_the_times_that_are_left(tmp_path: Path) -> None:
    world, board = World(), StatusBoard(tmp_path, "dti0")
    world.bound(lease(lifetime_s=1000))
    board.show(world.life, server="gw", error=None)
    status = read_status(tmp_path, "dti0", world.now + 100)
    assert status is not None
    assert status["pid"] == os.getpid()
    assert (status["state"], status["meaning"]) == ("BOUND", "has a lease")
    assert (status["lease"]["client4"], status["lease"]["client6"]) == (str(FIRST4), str(HOME6))
    assert (status["t1_in_s"], status["t2_in_s"], status["expires_in_s"]) == (400, 775, 900)
    assert (status["retry_in_s"], status["server"]) == (None, "gw")


def test_a_port_set_is_shown(tmp_path: Path) -> None:
    world, board = World(), StatusBoard(tmp_path, "dti0")
    world.bound(dataclasses.replace(lease(), port_set=MANY))
    board.show(world.life)
    status = read_status(tmp_path, "dti0", world.now)
    assert status is not None
    assert status["lease"]["port_set"] == "6/8/52"


def test_without_a_lease(tmp_path: Path) -> None:
    world, board = World(servers=1), StatusBoard(tmp_path, "dti0")
    world.start()
    world.refuse()
    board.show(world.life)
    status = read_status(tmp_path, "dti0", world.now)
    assert status is not None
    assert (status["state"], status["lease"], status["retry_in_s"]) == ("INIT", None, 1)
    board.clear()
    assert read_status(tmp_path, "dti0", world.now) is None


def test_a_file_of_another_version_is_no_status(tmp_path: Path) -> None:
    for text in ("", "[]", "{}", '{"t1_at": "x"}'):
        status_file(tmp_path, "dti0").write_text(text)
        assert read_status(tmp_path, "dti0", 0.0) is None


def test_the_last_address_is_remembered(tmp_path: Path) -> None:
    board = StatusBoard(tmp_path, "dti0")
    assert board.remembered() is None
    board.remember(FIRST4)
    assert StatusBoard(tmp_path, "dti0").remembered() == FIRST4
    assert StatusBoard(tmp_path, "dti1").remembered() is None
    (tmp_path / "dti0.last").write_text("nonsense")
    assert board.remembered() is None


def test_the_clock_goes_forward() -> None:
    assert 0 < boottime() <= boottime()
