"""The promises of `Lifecycle`, held against servers, clocks and users of any kind."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from dstmrouter.protocols.clientstate import State
from tests.protocols.client_world import World
from tests.protocols.leases import AWAY6, FIRST4, HOME6, OTHER4, lease

pytestmark = pytest.mark.usefixtures("untraced")

lifetimes = st.sampled_from([900, 900, 900, 86400, 120, 119, 60, 2, 1, 0])
hints = st.sampled_from([None, -1.0, 0.0, 5.0, 1e9])


class Life(RuleBasedStateMachine):
    """Anything may happen at any time; a question may stay open as long as it likes."""

    @initialize(servers=st.integers(1, 3))
    def begin(self, servers: int) -> None:
        self.world = World(servers=servers)
        self.world.life.want(self.world.now)
        self.world.take()

    @rule(what=st.sampled_from(["nothing", "want", "want", "want", "unwant", "home", "away"]))
    def user_or_network(self, what: str) -> None:
        if what == "want":
            self.world.life.want(self.world.now)
        elif what == "unwant":
            self.world.life.unwant()
        elif what != "nothing":
            self.world.client6 = AWAY6 if what == "away" else HOME6
            self.world.life.client6_changed(self.world.now)
        self.world.take()

    @precondition(lambda self: not self.world.idle())
    @rule()
    def all_goes_well(self) -> None:
        """The open question is answered as a good world would."""
        world = self.world
        if world.discovering:
            self.discover(world.servers)
        elif world.ask is not None:
            self.grant(900, other=False)
        elif world.verifying:
            world.verify()
        elif world.clearing:
            world.clear()
        else:
            self.release()

    @precondition(lambda self: self.world.idle() and self.world.life.next_timer() is not None)
    @rule()
    def until_the_next_timer(self) -> None:
        due = self.world.life.next_timer()
        assert due is not None
        self.world.at(max(due, self.world.now))

    @precondition(lambda self: self.world.discovering)
    @rule(servers=st.integers(0, 3))
    def discover(self, servers: int) -> None:
        world, self.world.discovering = self.world, False
        if servers:
            world.servers = servers
            world.life.found(servers, world.client6, world.now)
        else:
            world.life.no_server(world.now)
        world.take()

    @precondition(lambda self: self.world.ask is not None)
    @rule(lifetime_s=lifetimes, other=st.booleans())
    def grant(self, lifetime_s: int, *, other: bool) -> None:
        ask = self.world.ask
        assert ask is not None
        client4 = OTHER4 if other else FIRST4
        self.world.grant(lease(client4, lifetime_s, client6=ask.client6))

    @precondition(lambda self: self.world.ask is not None)
    @rule(final=st.booleans(), hint=hints)
    def refuse(self, hint: float | None, *, final: bool) -> None:
        self.world.refuse(final=final, retry_after_s=hint)

    @rule(serial=st.integers(0, 5), yes=st.booleans())
    def answer_to_an_old_question(self, serial: int, *, yes: bool) -> None:
        if self.world.ask is not None and self.world.ask.serial == serial:
            return
        if yes:
            self.world.life.granted(serial, lease(), self.world.now)
        else:
            self.world.life.refused(serial, self.world.now)
        assert self.world.take() == []

    @rule()
    def hear(self) -> None:
        self.world.verify()

    @rule()
    def fall_silent(self) -> None:
        self.world.verifying = False
        self.world.life.silent(self.world.now)
        self.world.take()

    @rule()
    def host_has_no_room_for_the_tunnel(self) -> None:
        self.world.life.impossible(self.world.now)
        self.world.take()

    @precondition(lambda self: self.world.clearing)
    @rule()
    def clear(self) -> None:
        self.world.clear()

    @precondition(lambda self: self.world.releasing is not None and not self.world.clearing)
    @rule()
    def release(self) -> None:
        self.world.releasing = None
        self.world.life.released(self.world.now)
        self.world.take()

    @rule(seconds=st.sampled_from([0.0, 0.3, 1.0, 10.0, 60.0, 300.0, 400.0, 90000.0]))
    def wait(self, seconds: float) -> None:
        self.world.at(self.world.now + seconds)

    @invariant()
    def no_address_is_used_past_its_end(self) -> None:
        if self.world.tunnel is not None:
            term = self.world.life.term
            assert term is not None
            assert term.lease.client4 == self.world.tunnel.client4
            due = self.world.life.next_timer()
            assert due is not None
            assert due <= term.expires_at

    @invariant()
    def no_timer_is_left_behind(self) -> None:
        due = self.world.life.next_timer()
        assert due is None or due >= self.world.now or self.world.life.state is State.INIT

    @invariant()
    def progress(self) -> None:
        world = self.world
        waiting = world.ask or world.discovering or world.clearing or world.releasing
        if world.life.wanted:
            assert waiting or world.life.next_timer() is not None
        elif not waiting:
            assert world.life.state is State.INIT
            assert world.life.next_timer() is None

    @invariant()
    def hooks_hear_beginnings_and_ends_in_turn(self) -> None:
        using = False
        for word in self.world.told:
            assert using == (word != "bound")
            using = word in {"bound", "renewed"}


def test_the_promises() -> None:
    run_state_machine_as_test(Life, settings=settings(max_examples=150, stateful_step_count=40))
