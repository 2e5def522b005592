from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from dstmrouter.cli.ctl import main
from dstmrouter.daemon.tsp_users import Users
from tests.cli.inside import inside

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path


def tsp_user(
    *arguments: str | Path, password: str | None = None
) -> subprocess.CompletedProcess[str]:
    options = ("--password-stdin",) if password is not None else ()
    return inside(main, "tsp-user", *arguments, *options, stdin=f"{password}\n")


def test_users_come_and_go(tmp_path: Path) -> None:
    file = tmp_path / "users"
    made = tsp_user("add", "ann", "--file", file, password="pencil")
    assert made.stdout == f"ann: added; {file} has 1 users\n"
    assert file.stat().st_mode & 0o777 == 0o600
    tsp_user("add", "bob", "--file", file, "--digest-realm", "dstm", password="x")
    shown = json.loads(tsp_user("list", "--file", file, "--json").stdout)
    assert [row["user"] for row in shown["users"]] == ["ann", "bob"]
    assert shown["users"][1]["mechanisms"].endswith("DIGEST-MD5")
    table = tsp_user("list", "--file", file).stdout
    assert "ann" in table
    changed = tsp_user("add", "ann", "--file", file, password="crayon")
    assert "new password" in changed.stdout
    assert Users(file).check_password("ann", "crayon")
    removed = tsp_user("remove", "bob", "--file", file)
    assert removed.stdout == f"bob: removed; {file} has 1 users\n"


@pytest.mark.parametrize(
    ("arguments", "password", "problem"),
    [
        (("remove", "eve"), None, "no user 'eve'"),
        (("add", "a:b"), "x", "user 'a:b': expected a name without colon"),
        (("add", "ann"), "", "user 'ann': expected 1 to 255 characters"),
        (("add", "ann"), "\a", "expected no control"),
    ],
)
def test_problems_are_one_line(
    tmp_path: Path, arguments: tuple[str, ...], password: str | None, problem: str
) -> None:
    file = tmp_path / "users"
    tsp_user("add", "bob", "--file", file, password="x")
    failed = tsp_user(*arguments, "--file", file, password=password)
    assert failed.returncode == 2
    assert problem in failed.stderr
    assert len(failed.stderr.splitlines()) == 1


def test_a_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "users"
    file.touch(0o644)
    file.chmod(0o644)
    failed = tsp_user("list", "--file", file)
    assert failed.returncode == 2
    assert "expected 0600" in failed.stderr
