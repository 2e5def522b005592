"""What steps for rare packets work with."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dstmrouter.pipeline.client_mtus import ClientMtus
    from dstmrouter.pipeline.encap import Encapsulator
    from dstmrouter.pipeline.memory import FrameMemory
    from dstmrouter.pipeline.outcome import Tables
    from dstmrouter.pipeline.portsets import PortSets
    from dstmrouter.pipeline.rare import FrameSource
    from dstmrouter.pipeline.route import Router4
    from dstmrouter.pipeline.rules import TunnelRules


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """All of it belongs to the forwarder."""

    memory: FrameMemory
    tables: Tables
    rules: TunnelRules
    frames: FrameSource
    encap: Encapsulator
    route: Router4
    vlans: list[int]  # by port, kept up to date
    port_sets: PortSets
    mtus: ClientMtus
