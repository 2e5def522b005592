from __future__ import annotations

import numpy as np
import pytest

from dstmrouter.wire.constant import constant


def test_a_constant_keeps_the_dtype_of_columns() -> None:
    column = np.array([1, 255], np.uint8)
    assert (column + constant(1, np.uint8)).tolist() == [2, 0]
    assert (column + constant(1, np.uint8)).dtype == np.uint8
    assert constant(7, np.int64).shape == ()


def test_a_constant_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="read-only"):
        constant(1, np.uint8)[...] = 2
