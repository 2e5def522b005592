"""Constants of bursts: arrays without dimensions.

What a column is compared with or added to should have the column's dtype, and be an array already:
numpy takes 0.3 us for a small burst then, 0.5 with a scalar of its own, 0.6 with a Python number,
and 8 with a member of an IntEnum.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


def constant(value: int, dtype: type[np.generic]) -> npt.NDArray[Any]:
    """`value` as an array of shape () and dtype `dtype`, read-only."""
    array = np.array(value, dtype)
    array.flags.writeable = False
    return array
