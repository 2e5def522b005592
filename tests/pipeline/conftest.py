"""Whatever a test shows with a `Machine` it shows with both engines: not an octet may differ."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.pipeline.machine import Machine

if TYPE_CHECKING:
    from collections.abc import Iterator


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if hasattr(metafunc.module, "Machine"):
        metafunc.fixturenames.append("engine")
        metafunc.parametrize("engine", ["numpy", "compiled"], indirect=True, scope="module")


@pytest.fixture(scope="module")
def engine(request: pytest.FixtureRequest) -> Iterator[None]:
    former, Machine.engine = Machine.engine, request.param
    yield
    Machine.engine = former
