from __future__ import annotations

from dstmrouter.daemon.precompile import precompile
from dstmrouter.jit import cache


def test_all_that_workers_load_is_in_the_cache_afterwards() -> None:
    directory, took = precompile()
    assert took > 0
    assert directory is not None
    assert directory == cache.directory()
    kept = {file.name.split("-")[0] for file in directory.rglob("*.nbi")}
    assert {"burst.forward", "turn.turn", "blocks.receive", "slots.submit"} <= kept
