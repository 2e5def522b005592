"""When a worker stops looking for packets and sleeps, and for how long.

To look once more costs an empty turn; to sleep costs a system call, and the next packet the time to
wake up. So a worker looks on for some turns. How many follows from what came of the last sleep, as
with KVM's `halt_poll_ns`: a packet that came soon would have been met awake by looking on a little
longer, so next time twice as many turns are tried; one that came late would not, so half as many.
A stream of packets is served awake, and packets that are far apart do not keep a CPU busy.

No packet waits for a timeout: poll() returns when one comes, also if it came before the call.
"""

from __future__ import annotations

from typing import Final

TURNS_MIN: Final = 4  # without a packet, before the worker sleeps
TURNS_MAX: Final = 256  # 0.5 to 2 ms
SOON_S: Final = 200e-6  # packets that are closer together than this, about, are met awake
POLL_MS: Final = 100  # also how late a stop is seen at worst
SENDING_POLL_MS: Final = 1  # at first, while frames wait for the kernel to send them


class Idling:
    """Decides for one worker."""

    def __init__(self) -> None:
        self.turns = TURNS_MIN  # so many without a packet, then it sleeps
        self._sending_ms = SENDING_POLL_MS

    def timeout_ms(self, *, sending: bool) -> int:
        """How long to sleep at most. `sending` says whether frames wait to be sent.

        Then nobody wakes the worker when the kernel takes more of them, so it looks soon; but if
        that goes on, as when an interface is down, each time half as often.
        """
        if not sending:
            self._sending_ms = SENDING_POLL_MS
            return POLL_MS
        timeout_ms = self._sending_ms
        self._sending_ms = min(2 * timeout_ms, POLL_MS)
        return timeout_ms

    def slept(self, seconds: float, *, woken: bool) -> None:
        """The worker slept so long, and a packet woke it if `woken`."""
        if woken and seconds < SOON_S:
            self.turns = min(2 * self.turns, TURNS_MAX)
        else:
            self.turns = max(self.turns // 2, TURNS_MIN)
