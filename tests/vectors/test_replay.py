"""Every case through `dstm-router replay`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

import pytest
from typer.testing import CliRunner

from dstmrouter.cli.router import app
from dstmrouter.io.capturefile import CaptureWriter, read_packets
from tests.vectors import setting
from tests.vectors.expectation import cases, check_counters, check_frames

if TYPE_CHECKING:
    from pathlib import Path

    from tests.vectors.case import Case, Side

pytestmark = pytest.mark.usefixtures("untraced")

RUNNER: Final = CliRunner()


def options(number: int, side: Side) -> list[str]:
    link = [f"--mac{number}={side.mac.hex()}", f"--next{number}={side.next_mac.hex()}"]
    link += [f"--filter-in{number}={side.filter_in or ''}"]
    link += [f"--filter-out{number}={side.filter_out or ''}"]
    link += [] if side.vlan is None else [f"--vlan{number}={side.vlan}"]
    return [*link, f"--mtu{number}={side.mtu}"]


def capture(path: Path, frames: tuple[bytes, ...]) -> Path:
    writer = CaptureWriter(path)
    for frame in frames:
        writer.write(frame)
    writer.close()
    return path


@pytest.mark.parametrize("engine", ["numpy", "compiled"])
@pytest.mark.parametrize("case", cases())
def test_replay(case: Case, engine: str, tmp_path: Path) -> None:
    config, bindings = tmp_path / "router.toml", tmp_path / "bindings.csv"
    config.write_text(setting.router_toml(case, tmp_path))
    bindings.write_text(setting.bindings_csv(case))
    in4, in6 = capture(tmp_path / "in4", case.in4), capture(tmp_path / "in6", case.in6)
    files = [f"--config={config}", f"--bindings={bindings}", f"--in4={in4}", f"--in6={in6}"]
    out4, out6 = tmp_path / "out4", tmp_path / "out6"
    places = [f"--out4={out4}", f"--out6={out6}", "--json"]
    places += ["--compiled"] * (engine == "compiled")
    links = [*options(4, case.v4), *options(6, case.v6)]
    done = RUNNER.invoke(app, ["replay", *files, *places, *links], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    check_frames(case, tuple(read_packets(out4)), tuple(read_packets(out6)))
    counted = {name: row["packets"] for name, row in json.loads(done.stdout).items()}
    check_counters(case, counted)
