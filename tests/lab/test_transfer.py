"""Files served in one namespace arrive whole in another."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from lab.netns import Lab, LabError, veth, wait_until
from lab.transfer import SlowDownload, download, random_file, serve, sha256

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.netns


@pytest.mark.parametrize(
    ("server", "client"), [("192.0.2.1", "192.0.2.2"), ("2001:db8::1", "2001:db8::2")]
)
def test_a_file_arrives_whole(tmp_path: Path, server: str, client: str) -> None:
    with Lab() as lab:
        one, other = lab.namespace("one"), lab.namespace("other")
        veth((one, "a"), (other, "b"))
        one.address("a", f"{server}/24" if "." in server else f"{server}/64")
        other.address("b", f"{client}/24" if "." in client else f"{client}/64")
        digest = random_file(tmp_path / "file", 1_000_000)
        url = serve(one, tmp_path, server)
        assert download(other, f"{url}/file", tmp_path / "copy") == digest
        assert sha256(tmp_path / "copy") == digest
        with pytest.raises(LabError, match="404"):
            download(other, f"{url}/none", tmp_path / "copy")


def test_a_slow_download_lasts_until_it_is_to_finish(tmp_path: Path) -> None:
    with Lab() as lab:
        one = lab.namespace("one")
        digest = random_file(tmp_path / "file", 2_000_000)
        url = serve(one, tmp_path, "127.0.0.1")
        with SlowDownload(one, f"{url}/file") as slow:
            wait_until(lambda: slow.received > SlowDownload.PIECE, "two pieces")
            assert not slow.complete
            assert slow.finish() == digest
            assert slow.complete
            assert slow.received == 2_000_000
        with SlowDownload(one, f"{url}/file") as given_up:
            pass
        assert given_up.received < 2_000_000
