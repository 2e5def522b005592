"""What the command lines share: `--version`, and how expected errors end a program."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NoReturn

import typer

from dstmrouter import __version__
from dstmrouter.errors import ConfigError, DstmError

if TYPE_CHECKING:
    from collections.abc import Sequence

EXIT_FAILED: Final = 1
EXIT_CONFIG: Final = 2  # as for options that the command line does not know
EXIT_INTERRUPTED: Final = 130


def version_option(program: str) -> Any:
    """The option `--version` of `program`, for an Annotated[bool, ...]."""

    def show(wanted: bool) -> None:
        if wanted:
            typer.echo(f"{program} {__version__}")
            raise typer.Exit

    return typer.Option("--version", callback=show, is_eager=True, help="Show the version.")


def run_program(app: typer.Typer, program: str, arguments: Sequence[str] | None = None) -> NoReturn:
    """Run a command line; expected errors are lines on standard error, without a traceback.

    Errors of a configuration name their file, and come without the name of the program.
    """
    try:
        app(args=None if arguments is None else list(arguments))
    except ConfigError as error:
        typer.echo(str(error), err=True)
        raise SystemExit(EXIT_CONFIG) from None
    except DstmError as error:
        typer.echo(f"{program}: {error}", err=True)
        raise SystemExit(EXIT_FAILED) from None
    except KeyboardInterrupt:
        raise SystemExit(EXIT_INTERRUPTED) from None
    raise AssertionError("typer ends the process")
