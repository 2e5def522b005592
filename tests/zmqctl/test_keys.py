from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import zmq.auth

from dstmrouter.errors import ConfigError
from dstmrouter.zmqctl.keys import (
    CurveClient,
    CurveServer,
    KeyPair,
    check_public_key,
    load_keys,
    write_keys,
)

if TYPE_CHECKING:
    from pathlib import Path


def test_written_keys_load_again(tmp_path: Path) -> None:
    pair = KeyPair.generate()
    public_file = write_keys(pair, tmp_path / "router.key")
    assert load_keys(tmp_path / "router.key") == pair
    assert (tmp_path / "router.key").stat().st_mode & 0o777 == 0o600
    assert pair.secret not in public_file.read_text()


def test_files_are_what_other_zeromq_tools_read(tmp_path: Path) -> None:
    pair = KeyPair.generate()
    public_file = write_keys(pair, tmp_path / "key")
    assert zmq.auth.load_certificate(public_file) == (pair.public.encode(), None)


def test_existing_file_is_never_overwritten(tmp_path: Path) -> None:
    write_keys(KeyPair.generate(), tmp_path / "key")
    before = (tmp_path / "key").read_bytes()
    with pytest.raises(ConfigError, match="File exists"):
        write_keys(KeyPair.generate(), tmp_path / "key")
    assert (tmp_path / "key").read_bytes() == before


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666])
def test_secret_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    write_keys(KeyPair.generate(), tmp_path / "key")
    (tmp_path / "key").chmod(mode)
    with pytest.raises(ConfigError, match=f"mode {mode:04o}, expected 0600"):
        load_keys(tmp_path / "key")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "no CURVE key file"),
        ("public-key", "no CURVE key file"),
        (f'public-key = "{"0" * 40}"', "holds no secret key"),
        (f'public-key = "{"0" * 40}"\nsecret-key = "hunter2"', "holds no secret key"),
        (f'public-key = "{"0" * 40}"\nsecret-key = "{KeyPair.generate().secret}"', "are no pair"),
    ],
)
def test_bad_key_file_is_explained_without_the_secret(
    tmp_path: Path, text: str, expected: str
) -> None:
    file = tmp_path / "key"
    file.write_text(text)
    file.chmod(0o600)
    with pytest.raises(ConfigError, match=expected) as caught:
        load_keys(file)
    assert "hunter2" not in str(caught.value)


def test_missing_key_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        load_keys(tmp_path / "absent")


@pytest.mark.parametrize("key", ["", "x" * 39, "#" * 40, "é" * 40, '"' * 40, "x" * 45])
def test_public_keys_are_checked(key: str) -> None:
    with pytest.raises(ConfigError, match="expected 40 characters of Z85"):
        check_public_key(key, "key of r1")
    with pytest.raises(ConfigError, match="allowed key of r1"):
        CurveServer(KeyPair.generate(), {key: "r1"})
    with pytest.raises(ConfigError, match="server key"):
        CurveClient(KeyPair.generate(), key)


def test_secret_does_not_show_in_a_log() -> None:
    pair = KeyPair.generate()
    assert pair.secret not in repr(CurveClient(pair, pair.public))
