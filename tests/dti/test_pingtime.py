from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from dstmrouter.dti import pingtime

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def setting(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    path = tmp_path / "nf_conntrack_icmp_timeout"
    monkeypatch.setattr(pingtime, "SETTING", path)
    return path


@pytest.mark.parametrize(("former", "during"), [(30, 60), (59, 60), (60, 60), (600, 600)])
def test_r28_it_is_raised_and_set_back(setting: Path, former: int, during: int) -> None:
    setting.write_text(f"{former}\n")
    assert pingtime.present() == former
    pingtime.lengthen()
    assert pingtime.present() == during
    pingtime.restore(former)
    assert pingtime.present() == former


def test_what_somebody_else_sets_meanwhile_stays(setting: Path) -> None:
    setting.write_text("30\n")
    pingtime.lengthen()
    setting.write_text("120\n")
    pingtime.restore(30)
    assert pingtime.present() == 120


def test_without_the_setting_there_is_a_line_in_the_log(setting: Path) -> None:
    setting.mkdir()
    assert pingtime.present() == 30
    with capture_logs() as lines:
        pingtime.lengthen()
    assert [line["event"] for line in lines] == ["pings are forgotten early"]
