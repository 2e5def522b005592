from __future__ import annotations

import pytest

from dstmrouter.zmqctl.update import BindingUpdate
from tests.zmqctl.samples import puts


def test_a_change_is_whole() -> None:
    with pytest.raises(AssertionError, match="only snapshots come in parts"):
        BindingUpdate(
            source="s", replace=False, columns=puts(0, 1), epoch=b"", generation=1, last=False
        )


def test_a_snapshot_may_have_parts() -> None:
    part = BindingUpdate(
        source="s", replace=True, columns=puts(0, 1), epoch=b"", generation=1, last=False
    )
    assert (part.first, part.last) == (True, False)
