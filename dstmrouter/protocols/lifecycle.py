"""A client's life with its lease, without I/O and without a clock.

Facts go in with the time (`granted`, `silent`, `handle_timer` ...), `actions()` come out, to be
carried out in their order. Three promises, whatever happens:

* no address is used past its expiry, if `handle_timer` is called when `next_timer` says;
* there is never more than one question to a server: an `Ask` is answered by `granted` or `refused`
  with its serial, or ended by an `Abandon`; what comes later is ignored;
* as long as IPv4 is wanted, an answer or a timer is being waited for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dstmrouter.protocols.backoff import HINT_LONGEST_S, Backoff
from dstmrouter.protocols.clientaction import (
    Abandon,
    Clear,
    Discover,
    Reason,
    Release,
    SetUp,
    Tell,
    Verify,
)
from dstmrouter.protocols.clientstate import HOLDING, TRANSITIONS, Input, State, step
from dstmrouter.protocols.question import OpenQuestion
from dstmrouter.protocols.rotation import Rotation
from dstmrouter.protocols.term import Term

if TYPE_CHECKING:
    from collections.abc import Callable
    from ipaddress import IPv4Address, IPv6Address

    from dstmrouter.protocols.clientaction import Action
    from dstmrouter.protocols.granted import GrantedLease


class Lifecycle:
    """One client; `random` as for `Backoff`, `hint4` is an address it once had."""

    def __init__(self, random: Callable[[], float], hint4: IPv4Address | None = None) -> None:
        self.state = State.INIT
        self.wanted = False
        self.term: Term | None = None
        self.retry_at: float | None = None
        self._backoff = Backoff(random)
        self._hint4 = hint4
        self._client6: IPv6Address | None = None
        self._servers = Rotation()
        self._grantor = 0
        self._question = OpenQuestion()
        self._not_before = 0.0  # a new beginning
        self._told = False  # hooks know of the lease
        self._actions: list[Action] = []

    def actions(self) -> list[Action]:
        """What is to be done since the last call, in order."""
        taken, self._actions = self._actions, []
        return taken

    def next_timer(self) -> float | None:
        """When `handle_timer` must be called, if nothing happens before."""
        times = [] if self.retry_at is None else [self.retry_at]
        if self.term is not None and self.state in HOLDING:
            times.append(self.term.expires_at)
            times += [self.term.t1] if self.state is State.BOUND else []
            times += [self.term.t2] if self.state is State.RENEWING else []
        return min(times, default=None)

    def want(self, now: float) -> None:
        """IPv4 is wanted from now on."""
        self.wanted = True
        if self.state is State.INIT and self.retry_at is None:
            self._retry(now)

    def unwant(self) -> None:
        """IPv4 is no longer wanted: the lease is given back."""
        self.wanted = False
        self.retry_at = None
        self._backoff.reset()
        self._give_back(Input.UNWANTED)

    def client6_changed(self, now: float) -> None:
        """The address asked from is gone or deprecated, or there is one for the first time."""
        self._backoff.reset()
        self._not_before = now
        before = self.state
        if self._step(Input.CHANGED6) is State.MOVED and self.term is not None:
            self._end(Reason.MOVED)
        self._abandon(before)
        self._wait(now)

    def handle_timer(self, now: float) -> None:
        """Do what is due at `now`."""
        term = self.term
        if term is not None and self.state in HOLDING and now >= term.expires_at:
            self._step(Input.EXPIRY)
            self._end(Reason.EXPIRED)
            self._abandon(self.state)
            return
        if term is not None and self.state is State.BOUND and now >= term.t1:
            self._step(Input.T1)
            self.retry_at = now
        if term is not None and self.state is State.RENEWING and now >= term.t2:
            self._step(Input.T2)
            self.retry_at = now
        if self.retry_at is not None and now >= self.retry_at:
            self._retry(now)

    def found(self, servers: int, client6: IPv6Address, now: float) -> None:
        """Answer to `Discover`: there are so many servers, to be asked from `client6`."""
        if self.state is not State.DISCOVER:
            return
        self._step(Input.FOUND)
        self._client6 = client6
        self._servers.begin(servers)
        self._ask(now)

    def no_server(self, now: float) -> None:
        """Answer to `Discover`: there is no server, or no address to ask from."""
        if self.state is State.DISCOVER:
            self._step(Input.NO_SERVER)
            self.retry_at = now + self._backoff.delay_s()

    def granted(self, serial: int, lease: GrantedLease, now: float) -> None:
        """Answer to `Ask`."""
        answered = self._question.answered(serial)
        if answered is None:
            return
        ask, sent_at = answered
        term = Term(lease, sent_at)
        if lease.client6 != ask.client6 or term.expires_at <= now:  # of no use
            self._refused(ask.server, now, None, final=False)
            return
        former, self.term = self.term, term
        was_dead = self.state is State.DEAD
        self._servers.forgive()
        self.retry_at = None
        self._grantor = ask.server
        same = former is not None and former.same_tunnel(term)
        state = self._step(Input.GRANTED if former is None or same else Input.REPLACED)
        if same:
            self._actions += [Tell(lease, renewed=True)] if self._told else []
        else:
            self._tell_end(former, Reason.REPLACED)
        if was_dead or not same:  # the same again repairs what others have done to it
            self._actions.append(SetUp(lease))
        if state is State.VERIFY:
            self._actions.append(Verify())

    def refused(
        self, serial: int, now: float, *, retry_after_s: float | None = None, final: bool = False
    ) -> None:
        """Answer to `Ask`: no, or no answer in time; `final` and the hint as in `SourceError`."""
        answered = self._question.answered(serial)
        if answered is not None:
            self._refused(answered[0].server, now, retry_after_s, final=final)

    def verified(self, now: float) -> None:
        """The other end answers."""
        if self.state is State.VERIFY:
            self._step(Input.VERIFIED)
        elif self.state is State.DEAD:
            self._step(Input.HEARD)
            self.retry_at = None
        else:
            return
        assert self.term is not None, "bound without a lease"
        self._backoff.reset()  # not when granted: the gateway may be down while the server is up
        if not self._told:
            self._told = True
            self._actions.append(Tell(self.term.lease))
        self.handle_timer(now)

    def silent(self, now: float) -> None:
        """The other end does not answer."""
        if (self.state, Input.SILENT) in TRANSITIONS:
            self._step(Input.SILENT)
            self._servers.current = self._grantor
            self.retry_at = None if self._question else now + self._backoff.delay_s()
            self.handle_timer(now)

    def impossible(self, now: float) -> None:
        """The tunnel cannot be made on this host: the lease is of no use now."""
        if self.state in HOLDING:
            self._give_back(Input.IMPOSSIBLE)
            self._backoff.give_up()
            self._not_before = now + self._backoff.delay_s()

    def cleared(self, now: float) -> None:
        """The tunnel is removed."""
        if (self.state, Input.CLEARED) in TRANSITIONS:
            self._step(Input.CLEARED)
            self._wait(now)

    def released(self, now: float) -> None:
        """The lease is given back, as far as that was possible."""
        if self.state is State.RELEASING:
            self._step(Input.RELEASED)
            self._wait(now)

    def _step(self, happened: Input) -> State:
        self.state = step(self.state, happened)
        return self.state

    def _wait(self, now: float) -> None:
        """In INIT: begin at the next timer, which is at once unless something forbids it."""
        if self.state is State.INIT:
            self.retry_at = max(now, self._not_before) if self.wanted else None

    def _retry(self, now: float) -> None:
        self.retry_at = None
        if self.state is State.INIT:
            self._step(Input.WANTED)
            self._actions.append(Discover())
        elif not self._question:
            self._ask(now)

    def _ask(self, now: float) -> None:
        assert self._client6 is not None, "found() comes before the first question"
        renewing = self.state is State.RENEWING and self.term is not None
        held = self.term.lease if self.term is not None else None
        ask = self._question.put(
            now,
            server=self._grantor if renewing else self._servers.current,
            client6=self._client6,
            hint4=self._hint4 if held is None else held.client4,
            renew=held if renewing else None,
        )
        self._actions.append(ask)

    def _abandon(self, state: State) -> None:
        """Stop what was asked in `state`; after the tunnel is cleared, which must not wait."""
        if self._question.drop() or state is State.DISCOVER:
            self._actions.append(Abandon())

    def _refused(self, server: int, now: float, hint_s: float | None, *, final: bool) -> None:
        if final:
            self._servers.refuse(server)
        if self.state is State.REQUESTING:
            self._next_server(now, hint_s)
            return
        self._step(Input.REFUSED)
        if self.term is None or self.state is State.BOUND:
            return
        wish = now + min(hint_s or 0.0, HINT_LONGEST_S)
        if self.state is State.RENEWING:
            if not final:
                self.retry_at = max(self.term.retry_at(now, self.term.t2), wish)
            return
        self._servers.turn()
        if self.state is State.DEAD:
            self.retry_at = now + self._backoff.delay_s(hint_s)
        elif not self._servers.all_refuse:
            self.retry_at = max(self.term.retry_at(now, self.term.expires_at), wish)

    def _next_server(self, now: float, hint_s: float | None) -> None:
        """Ask the next one now, or all of them later."""
        if self._servers.advance():
            self._step(Input.REFUSED)
            self._ask(now)
            return
        self._step(Input.EXHAUSTED)
        if self._servers.all_refuse:
            self._backoff.give_up()
        self.retry_at = now + self._backoff.delay_s(hint_s)

    def _give_back(self, why: Input) -> None:
        before, term = self.state, self.term
        self._step(why)
        if term is not None:
            self._end(Reason.RELEASED)
        self._abandon(before)
        if term is not None:
            self._actions.append(Release(term.lease, self._grantor))

    def _end(self, reason: Reason) -> None:
        """Stop using the lease."""
        assert self.term is not None, "nothing to end"
        self._actions.append(Clear())
        self._tell_end(self.term, reason)
        self._hint4 = self.term.lease.client4
        self.term = None
        self.retry_at = None

    def _tell_end(self, term: Term | None, reason: Reason) -> None:
        if self._told and term is not None:
            self._actions.append(Tell(term.lease, ended=reason))
        self._told = False
