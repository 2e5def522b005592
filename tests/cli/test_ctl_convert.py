from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dstmrouter.config.legacy_document import load_legacy_client, load_legacy_server
from dstmrouter.config.load import load_client, load_server
from tests.cli.daemons import dstmctl
from tests.config.test_legacy import CLIENT_ARGS, CONF, SERVER_ARGS

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def legacy(tmp_path: Path) -> Path:
    (tmp_path / "rpcdstmd.conf").write_text(CONF)
    (tmp_path / "rpcdstmd.args").write_text(SERVER_ARGS)
    (tmp_path / "dstmd.args").write_text(CLIENT_ARGS)
    return tmp_path


def test_the_server_file_loads_to_what_the_old_files_mean(legacy: Path) -> None:
    conf, args, made = legacy / "rpcdstmd.conf", legacy / "rpcdstmd.args", legacy / "server.toml"
    done = dstmctl("convert", "--rpcdstmd-conf", str(conf), "--args", str(args), "-o", str(made))
    assert (done.returncode, done.stdout) == (0, "")
    config = load_server(made)
    assert config == load_legacy_server(conf, args)
    assert config.tsp is not None
    assert (config.tsp.port, config.tsp.mechanisms) == (3545, ("ANONYMOUS",))
    assert made.read_text().startswith(f"# Made from {conf}, {args} by dstmctl convert.\n")


def test_the_client_file_loads_to_what_the_old_file_means(legacy: Path) -> None:
    args, made = legacy / "dstmd.args", legacy / "client.toml"
    done = dstmctl("convert", "--dstmd-args", str(args))
    made.write_text(done.stdout)
    assert load_client(made) == load_legacy_client(args)
    assert dstmctl("check-config", str(made)).stdout.endswith("configuration of dstm-client\n")


def test_without_args_there_is_no_tsp(legacy: Path) -> None:
    done = dstmctl("convert", "--rpcdstmd-conf", str(legacy / "rpcdstmd.conf"))
    assert "tsp" not in done.stdout
    (legacy / "made.toml").write_text(done.stdout)
    assert load_server(legacy / "made.toml").tsp is None


def test_existing_files_are_kept(legacy: Path) -> None:
    args = legacy / "dstmd.args"
    done = dstmctl("convert", "--dstmd-args", str(args), "-o", str(args))
    assert (done.returncode, done.stderr) == (2, f"{args}: File exists\n")
    assert args.read_text() == CLIENT_ARGS


@pytest.mark.parametrize(
    "options", [[], ["--args", "x"], ["--dstmd-args", "x", "--rpcdstmd-conf", "y"]]
)
def test_one_side_at_a_time(options: list[str]) -> None:
    done = dstmctl("convert", *options)
    assert done.returncode == 2
    assert "expected --rpcdstmd-conf with or without --args, or --dstmd-args" in done.stderr


def test_wrong_files_are_told_with_their_lines(legacy: Path) -> None:
    args = legacy / "dstmd.args"
    args.write_text("prot=1\nport=x\n")
    done = dstmctl("convert", "--dstmd-args", str(args))
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        f"{args}: line 1: prot: unknown keyword, expected tspserver or port or authmode or log",
        f"{args}: line 2: port x: expected an integer between 1 and 65535",
    ]
