"""What surrounds a `Lifecycle`, played: it carries out actions, holds a clock, and keeps watch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dstmrouter.protocols.clientaction import (
    Abandon,
    Action,
    Ask,
    Clear,
    Discover,
    Release,
    SetUp,
    Tell,
    Verify,
)
from dstmrouter.protocols.clientstate import State
from dstmrouter.protocols.lifecycle import Lifecycle
from tests.protocols.leases import HOME6

if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv6Address

    from dstmrouter.protocols.granted import GrantedLease


class World:
    """`done` are all actions so far; the open questions are attributes."""

    def __init__(self, *, hint4: IPv4Address | None = None, servers: int = 2) -> None:
        self.now = 1000.0
        self.life = Lifecycle(lambda: 0.5, hint4)
        self.servers = servers
        self.client6: IPv6Address = HOME6
        self.done: list[Action] = []
        self.ask: Ask | None = None
        self.discovering = self.verifying = self.clearing = False
        self.releasing: GrantedLease | None = None
        self.tunnel: GrantedLease | None = None
        self.told: list[str] = []

    def take(self) -> list[Action]:
        """Carry out what is to be done; returns it."""
        actions = self.life.actions()
        for action in actions:
            self._carry_out(action)
        self.done += actions
        return actions

    def _carry_out(self, action: Action) -> None:
        match action:
            case Discover():
                self.discovering = True
            case Ask():
                assert self.ask is None, "two questions at a time"
                assert 0 <= action.server < self.servers
                self.ask = action
            case Abandon():
                self.ask, self.discovering = None, False
            case Tell():
                word = "renewed" if action.renewed else "bound"
                self.told.append(action.ended.value if action.ended else word)
            case _:
                self._change_tunnel(action)

    def _change_tunnel(self, action: Action) -> None:
        match action:
            case SetUp():
                self.tunnel = action.lease
            case Verify():
                self.verifying = True
            case Clear():
                self.tunnel, self.clearing, self.verifying = None, True, False
            case Release():
                assert self.tunnel is None, "given back while in use"
                self.releasing = action.lease

    def idle(self) -> bool:
        """Whether nobody is waited for."""
        return not (
            self.ask or self.discovering or self.verifying or self.clearing or self.releasing
        )

    def state(self) -> State:
        """The state, as something that changes between two looks."""
        return self.life.state

    def start(self) -> Ask:
        """Be wanted, and find the servers; the first question."""
        self.life.want(self.now)
        self.take()
        self.discovering = False
        self.life.found(self.servers, self.client6, self.now)
        self.take()
        assert self.ask is not None
        return self.ask

    def grant(self, lease: GrantedLease) -> None:
        """Answer the open question."""
        assert self.ask is not None
        serial, self.ask = self.ask.serial, None
        self.life.granted(serial, lease, self.now)
        self.take()

    def refuse(self, *, final: bool = False, retry_after_s: float | None = None) -> None:
        """Answer the open question with a no."""
        assert self.ask is not None
        serial, self.ask = self.ask.serial, None
        self.life.refused(serial, self.now, final=final, retry_after_s=retry_after_s)
        self.take()

    def verify(self) -> None:
        """The other end answers."""
        self.verifying = False
        self.life.verified(self.now)
        self.take()

    def bound(self, lease: GrantedLease) -> None:
        """Be bound to `lease`."""
        self.start()
        self.grant(lease)
        self.verify()
        assert self.life.state is State.BOUND

    def at(self, now: float) -> list[Action]:
        """Let the time be `now`, with every timer on the way kept; what was done then."""
        assert now >= self.now
        done: list[Action] = []
        while (due := self.life.next_timer()) is not None and due <= now:
            self.now = max(self.now, due)
            self.life.handle_timer(self.now)
            done += self.take()
        self.now = now
        return done

    def clear(self) -> None:
        """The tunnel is gone."""
        assert self.clearing
        self.clearing = False
        self.life.cleared(self.now)
        self.take()
