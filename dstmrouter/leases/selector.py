"""`Selector`: which clients a pool is for, by who they are and from where they ask."""

from __future__ import annotations

import fnmatch
import re
from collections import defaultdict
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable
    from ipaddress import IPv6Address, IPv6Network

ADDRESS_BITS: Final = 128
WILD: Final = frozenset("*?[")


class Selector:
    """Fits clients with one of `identities` and an address in one of `client_prefixes`.

    Identities are exact or shell patterns (`*.example.org`), case counts. What is empty fits all.
    The cost of a look-up grows with the number of patterns and of different prefix lengths, not
    with the number of exact names or prefixes.
    """

    def __init__(
        self, identities: Iterable[str] = (), client_prefixes: Iterable[IPv6Network] = ()
    ) -> None:
        names = frozenset(identities)
        patterns = [name for name in names if WILD.intersection(name)]
        self._any_identity = not names
        self._names = names.difference(patterns)
        self._patterns = re.compile("|".join(map(fnmatch.translate, patterns)) or r"(?!)")
        by_length: dict[int, set[int]] = defaultdict(set)
        for prefix in client_prefixes:
            shift = ADDRESS_BITS - prefix.prefixlen
            by_length[shift].add(int(prefix.network_address) >> shift)
        self._prefixes = dict(by_length)

    def fits(self, client6: IPv6Address, identity: str) -> bool:
        """Whether the client may be lent from here; nobody (`identity` empty) fits no name."""
        return self._fits_identity(identity) and self._fits_address(client6)

    def _fits_identity(self, identity: str) -> bool:
        if self._any_identity:
            return True
        if not identity:
            return False
        return identity in self._names or self._patterns.match(identity) is not None

    def _fits_address(self, client6: IPv6Address) -> bool:
        if not self._prefixes:
            return True
        address = int(client6)
        return any(address >> shift in prefixes for shift, prefixes in self._prefixes.items())


ANYBODY: Final = Selector()
