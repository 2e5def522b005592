"""The systemd units in conf/: right by systemd's own word, and locked in as far as they can be."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CONF = Path(__file__).parents[1] / "conf"
UNITS = sorted(CONF.glob("*.service"))
EXPOSURE_MAX = 4.0  # of 10, by `systemd-analyze security`; an unhardened unit has 9.6

pytestmark = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None,
    reason="needs systemd-analyze (tools/setup.sh installs it)",
)


def analyze(*words: str | Path) -> str:
    """What systemd-analyze says; an error of it fails the test."""
    done = subprocess.run(
        ["systemd-analyze", *words], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


@pytest.fixture(params=UNITS, ids=lambda path: path.name)
def unit(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The unit with its program where it is here."""
    text = request.param.read_text()
    here = Path(sys.executable).parent
    assert f"/opt/dstm/bin/{request.param.stem} run " in text
    path: Path = tmp_path / request.param.name
    path.write_text(text.replace("/opt/dstm/bin", str(here)))
    return path


def test_there_is_one_for_every_daemon() -> None:
    assert [path.stem for path in UNITS] == ["dstm-client", "dstm-router", "dstm-server"]


def test_systemd_finds_nothing_wrong(unit: Path) -> None:
    assert analyze("verify", "--man=no", unit) == ""


def test_it_is_locked_in(unit: Path) -> None:
    said = analyze("security", "--offline=true", "--no-pager", unit)
    found = re.search(r"Overall exposure level for .*: ([\d.]+)", said)
    assert found is not None, said
    assert float(found[1]) <= EXPOSURE_MAX


def test_a_mistake_would_be_found(tmp_path: Path) -> None:
    path = tmp_path / "bad.service"
    path.write_text("[Service]\nType=notify\nExecStart=/bin/true\nProtectEverything=yes\n")
    assert "ProtectEverything" in analyze("verify", "--man=no", path)
