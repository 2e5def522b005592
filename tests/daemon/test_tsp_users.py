from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dstmrouter.daemon.tsp_users import Users, load_users, new_keys, save_users
from dstmrouter.errors import ConfigError
from dstmrouter.leases.rate import Rate, TokenBuckets
from dstmrouter.protocols.sasl_digest import secret

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Ann with a digest, Bob without."""
    path = tmp_path / "users"
    ann, bob = (
        new_keys("ann", "pencil", digest_realm="dstm"),
        new_keys("bob", "x", digest_realm=None),
    )
    save_users(path, {"bob": bob, "ann": ann})
    return path


def test_users_are_read_as_they_were_written(file: Path) -> None:
    assert file.stat().st_mode & 0o777 == 0o600
    users = load_users(file)
    assert list(users) == ["ann", "bob"]
    assert users["ann"].digest_ha1 == secret("ann", "dstm", "pencil")
    assert users["bob"].digest_ha1 is None
    assert "pencil" not in file.read_text()
    save_users(file, users)
    assert load_users(file) == users
    assert [path.name for path in file.parent.iterdir()] == ["users"]


def test_passwords_are_checked(file: Path) -> None:
    users = Users(file)
    assert users.check_password("ann", "pencil")
    for user, password in (("ann", "pencils"), ("bob", "pencil"), ("eve", "pencil")):
        assert not users.check_password(user, password)
    assert not Users(None).check_password("ann", "pencil")


def test_strangers_cannot_keep_the_server_busy(file: Path) -> None:
    users = Users(file, TokenBuckets(Rate(per_s=1e-9, burst=3)))
    assert users.check_password("ann", "pencil")
    assert [users.check_password("eve", "x") for _ in range(3)] == [False] * 3
    assert not users.check_password("bob", "x")  # right, but nothing is checked any more
    assert users.check_password("ann", "pencil")  # known again
    assert not users.check_password("ann", "pencils")
    users.reload()
    assert not users.check_password("ann", "pencil")


def test_unknown_users_look_like_known_ones(file: Path) -> None:
    users = Users(file)
    eve, known = users.keys_of("eve"), users.keys_of("ann")
    assert eve == users.keys_of("eve") != users.keys_of("eva")
    assert (len(eve.salt), eve.iterations) == (len(known.salt), known.iterations)
    assert Users(file).keys_of("eve") != eve


def test_a_reload_takes_all_or_nothing(file: Path) -> None:
    users = Users(file)
    good = file.read_text()
    file.write_text(good + "nonsense\n")
    with pytest.raises(ConfigError, match="line 4"):
        users.reload()
    assert users.check_password("ann", "pencil")
    save_users(file, {})
    users.reload()
    assert not users.check_password("ann", "pencil")


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("eve", "line 4: expected name:iterations"),
        ("eve:x:AAAA:AAAA:AAAA", "line 4: expected"),
        ("eve:10:AAAA:AAAA:AAAA", "line 4: expected"),
        ("eve:10:?:AAAA:AAAA", "line 4: expected"),
        ("bob", "line 4: expected"),
    ],
)
def test_bad_lines_are_named(file: Path, line: str, problem: str) -> None:
    file.write_text(file.read_text() + line + "\n")
    with pytest.raises(ConfigError, match=problem):
        load_users(file)


def test_a_user_stands_there_once(file: Path) -> None:
    lines = file.read_text().splitlines()
    file.write_text("\n".join([*lines, "", lines[-1]]))
    with pytest.raises(ConfigError, match="line 5: user 'bob' a second time"):
        load_users(file)


def test_files_that_cannot_be_used(file: Path, tmp_path: Path) -> None:
    file.chmod(0o640)
    with pytest.raises(ConfigError, match="mode 0640: expected 0600"):
        load_users(file)
    with pytest.raises(ConfigError, match="No such file"):
        load_users(tmp_path / "none")
    with pytest.raises(ConfigError, match="No such file"):
        save_users(tmp_path / "none" / "users", {})
    file.chmod(0o600)
    file.write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="UTF-8"):
        load_users(file)


@pytest.mark.parametrize(("user", "password"), [("a:b", "x"), ("", "x"), ("ann", ""), ("#a", "x")])
def test_names_and_passwords_that_cannot_be_kept(user: str, password: str) -> None:
    with pytest.raises(ConfigError):
        new_keys(user, password, digest_realm=None)
