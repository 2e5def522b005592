"""dstmctl tsp-user: who may ask the server for leases by TSP."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.console import Console

from dstmrouter.cli.ctl_access import AsJson, print_json
from dstmrouter.cli.ctl_view import rows_table
from dstmrouter.daemon.tsp_users import load_users, new_keys, save_users
from dstmrouter.errors import ConfigError

if TYPE_CHECKING:
    from dstmrouter.protocols.sasl import UserKeys

app = typer.Typer(
    no_args_is_help=True,
    help="Keep the file of TSP users. A running dstm-server reads it again on SIGHUP.",
)

DEFAULT_FILE: Final = Path("/etc/dstm/tsp-users")

Name = Annotated[str, typer.Argument(help="user name")]
File = Annotated[Path, typer.Option("--file", "-f", help="users_file of [tsp] in server.toml")]
Realm = Annotated[
    str | None,
    typer.Option(help="keep a digest for DIGEST-MD5 as well, for this realm of [tsp]"),
]
FromStdin = Annotated[
    bool, typer.Option("--password-stdin", help="read the password from standard input")
]


@app.command()
def add(
    name: Name,
    file: File = DEFAULT_FILE,
    digest_realm: Realm = None,
    password_stdin: FromStdin = False,
) -> None:
    """Add a user, or give one a new password."""
    users = _existing(file)
    known = name in users
    password = _password(from_stdin=password_stdin)
    users[name] = new_keys(name, password, digest_realm=digest_realm)
    save_users(file, users)
    typer.echo(f"{name}: {'new password' if known else 'added'}; {file} has {len(users)} users")


@app.command()
def remove(name: Name, file: File = DEFAULT_FILE) -> None:
    """Remove a user. Its leases go on until they end."""
    users = load_users(file)
    if users.pop(name, None) is None:
        raise ConfigError(f"{file}: no user {name!r}")
    save_users(file, users)
    typer.echo(f"{name}: removed; {file} has {len(users)} users")


@app.command("list")
def list_users(file: File = DEFAULT_FILE, as_json: AsJson = False) -> None:
    """List users and the mechanisms that they can use."""
    rows = [
        {"user": name, "mechanisms": ", ".join(_mechanisms(keys))}
        for name, keys in load_users(file).items()
    ]
    if as_json:
        print_json({"users": rows})
    else:
        Console().print(rows_table(f"users: {len(rows)}", rows, ("user", "mechanisms")))


def _existing(file: Path) -> dict[str, UserKeys]:
    return load_users(file) if file.exists() else {}


def _password(*, from_stdin: bool) -> str:
    if from_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    password: str = typer.prompt("Password", hide_input=True, confirmation_prompt=True)
    return password


def _mechanisms(keys: UserKeys) -> list[str]:
    digest = ["DIGEST-MD5"] if keys.digest_ha1 is not None else []
    return ["SCRAM-SHA-256", "PLAIN", *digest]
