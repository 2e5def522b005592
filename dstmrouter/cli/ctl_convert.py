"""dstmctl convert: the files of ENST's DSTM package as TOML."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from dstmrouter.errors import ConfigError

Conf = Annotated[
    Path | None, typer.Option("--rpcdstmd-conf", metavar="FILE", help="server: rpcdstmd.conf")
]
Args = Annotated[Path | None, typer.Option("--args", metavar="FILE", help="server: rpcdstmd.args")]
ClientArgs = Annotated[
    Path | None, typer.Option("--dstmd-args", metavar="FILE", help="client: dstmd.args")
]
Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", metavar="FILE", help="write there; no file is overwritten"),
]


def convert(
    rpcdstmd_conf: Conf = None,
    args: Args = None,
    dstmd_args: ClientArgs = None,
    output: Output = None,
) -> None:
    """Write ENST's rpcdstmd.conf and rpcdstmd.args, or dstmd.args, as the TOML of our programs."""
    text = _text(rpcdstmd_conf, args, dstmd_args)
    if output is None:
        typer.echo(text, nl=False)
        return
    try:
        with os.fdopen(os.open(output, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644), "w") as file:
            file.write(text)
    except OSError as error:
        raise ConfigError(f"{output}: {error.strerror}") from None


def _text(conf: Path | None, args: Path | None, client: Path | None) -> str:
    from dstmrouter.config.legacy import read_client, read_server  # with the models: only here
    from dstmrouter.config.legacy_document import (
        as_toml,
        client_document,
        load_legacy_client,
        load_legacy_server,
        server_document,
    )

    if conf is not None and client is None:
        load_legacy_server(conf, args)  # what is written must load
        document = server_document(read_server(conf, args))
        return as_toml(document, *([conf] if args is None else [conf, args]))
    if client is not None and conf is None and args is None:
        load_legacy_client(client)
        return as_toml(client_document(read_client(client)), client)
    raise ConfigError("expected --rpcdstmd-conf with or without --args, or --dstmd-args")
