from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

import pytest

from dstmrouter.config.secretfile import check_secret, read_secret
from dstmrouter.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "password"
    path.write_bytes(b"s\xc3\xa9cret word\n")
    path.chmod(0o600)
    return path


def test_one_line_without_its_end(file: Path) -> None:
    assert read_secret(file) == "sécret word"
    file.chmod(0o400)
    assert read_secret(file) == "sécret word"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o610])
def test_others_may_not_read_it(file: Path, mode: int) -> None:
    file.chmod(mode)
    with pytest.raises(ConfigError, match=f"{file}: mode {mode:04o}, expected 0600"):
        read_secret(file)


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"a\nb\n", b"pass\x00word\n", b"p\xffq", b"x" * 5000]
)
def test_no_secret_and_no_word_of_it_in_the_error(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=re.escape(f"{file}: ")) as caught:
        read_secret(file)
    assert "pass" not in str(caught.value).replace(str(file), "")


def test_what_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        check_secret(tmp_path / "none")
    with pytest.raises(ConfigError, match="expected a plain file"):
        check_secret(tmp_path)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_the_owner_is_root_or_we(file: Path) -> None:
    os.chown(file, 12345, -1)
    with pytest.raises(ConfigError, match="belongs to user 12345"):
        read_secret(file)
