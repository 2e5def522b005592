"""Which of several servers to ask; servers are numbers, in the order of preference."""

from __future__ import annotations


class Rotation:
    """`current` is the one to ask next."""

    def __init__(self) -> None:
        self.current = 0
        self._servers = 0
        self._refusers: set[int] = set()  # whose no was plain

    def begin(self, servers: int) -> None:
        """Forget everything: there are `servers` now."""
        self.current = 0
        self._servers = servers
        self._refusers.clear()

    def forgive(self) -> None:
        """Forget who refused: somebody said yes."""
        self._refusers.clear()

    def refuse(self, server: int) -> None:
        """`server` will not change its mind soon."""
        self._refusers.add(server)

    @property
    def all_refuse(self) -> bool:
        """Whether nobody is left to ask."""
        return len(self._refusers) >= self._servers

    def advance(self) -> bool:
        """Go to the next one; False if that was the last."""
        self.current += 1
        return self.current < self._servers

    def turn(self) -> None:
        """Go to the next one, from the last to the first; pass over refusers if not all are."""
        order = [(self.current + i) % self._servers for i in range(1, self._servers + 1)]
        self.current = next((one for one in order if one not in self._refusers), order[0])
