"""An authority and the certificates it signs, made by openssl."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

NEW_KEY: Final = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


def openssl(*arguments: str | Path) -> str:
    words = ["openssl", *(str(argument) for argument in arguments)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


class Authority:
    """Signs certificates; all files are in `home`."""

    def __init__(self, home: Path, name: str = "ca") -> None:
        self._home = home
        self.certificate, self._key = home / f"{name}.pem", home / f"{name}.key"
        files = ("-keyout", self._key, "-out", self.certificate)
        openssl("req", "-x509", *NEW_KEY, "-days", "2", "-subj", f"/CN={name}", *files)

    def sign(self, name: str, names: str = "") -> tuple[Path, Path]:
        """Certificate and key of `name`; `names` like `DNS:a.example,IP:2001:db8::1`."""
        certificate, key = self._home / f"{name}.pem", self._home / f"{name}.key"
        also = ("-addext", f"subjectAltName={names}") if names else ()
        signer = ("-CA", self.certificate, "-CAkey", self._key, "-days", "2")
        files = ("-keyout", key, "-out", certificate)
        openssl("req", "-x509", *NEW_KEY, *signer, "-subj", f"/CN={name}", *also, *files)
        return certificate, key
