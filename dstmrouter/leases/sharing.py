"""`Sharing`: how an address is cut into port sets (RFC 7597 section 5.1).

    port:  | a bits: A | k bits: PSID | m bits: j |      a + k + m = 16

With a > 0 the ports with A = 0 belong to nobody, so a set is many ranges and none of them low. With
a = 0 a set is one range, and the sets with system ports (below 1024) are not lent.
"""

from __future__ import annotations

import dataclasses
from typing import Final

from dstmrouter.errors import ConfigError
from dstmrouter.protocols.granted import PORT_BITS, PortSet

SYSTEM_PORTS: Final = 1024  # RFC 6335 section 6
OFFSET_MAX: Final = 6  # 2^(16 - 6) = 1024: more would leave system ports in the sets
LEN_MAX: Final = 12  # sets of 16 ports


@dataclasses.dataclass(frozen=True, slots=True)
class Sharing:
    """`psid_offset` (a) and `psid_len` (k) in bits; k = 0 is the whole address.

    Raises ConfigError for what RFC 7597 or the system ports do not allow.
    """

    psid_offset: int = 0
    psid_len: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.psid_len <= LEN_MAX or not 0 <= self.psid_offset <= OFFSET_MAX:
            raise ConfigError(
                f"psid_len {self.psid_len}, psid_offset {self.psid_offset}: "
                f"expected at most {LEN_MAX} and {OFFSET_MAX}"
            )
        if self.psid_offset + self.psid_len > PORT_BITS:
            raise ConfigError("psid_len and psid_offset: expected at most 16 together")
        if not self.psid_len and self.psid_offset:
            raise ConfigError("psid_offset: expected a psid_len with it")

    @property
    def first_psid(self) -> int:
        """The first PSID that is lent."""
        if self.psid_offset or not self.psid_len:
            return 0
        return -(-SYSTEM_PORTS // self._range_len)

    @property
    def sets(self) -> int:
        """How many port sets of an address are lent."""
        return (1 << self.psid_len) - self.first_psid

    def port_set(self, psid: int) -> PortSet | None:
        """The port set `psid`; None for the whole address."""
        if not self.psid_len:
            return None
        return PortSet(psid_offset=self.psid_offset, psid_len=self.psid_len, psid=psid)

    @property
    def _range_len(self) -> int:
        return 1 << (PORT_BITS - self.psid_offset - self.psid_len)


WHOLE: Final = Sharing()
