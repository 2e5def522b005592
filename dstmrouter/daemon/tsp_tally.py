"""What is counted of TSP dialogues."""

from __future__ import annotations

from dstmrouter.daemon.tally import Tally
from dstmrouter.protocols.tsp_state import Ending


class TspTally(Tally):
    """What became of requests, and by its name each `Ending` of a dialogue."""

    UDP_DIALOGUES = "udp-dialogues", "dialogues over UDP whose client has authenticated"
    OFFERS = "offers", "addresses offered or extended"
    GRANTS = "grants", "offers that the client accepted"
    REJECTS = "rejects", "offers that the client rejected"
    ROLLED_BACK = "rolled-back", "offers taken back because the dialogue ended first"
    RELEASES = "releases", "leases given back"
    REFUSALS = "refusals", "requests refused by the rules of leases"
    DROPPED_RATE = "dropped-rate", "datagrams and requests not served: source asks too often"
    DROPPED_FULL = "dropped-full", "dialogues over UDP refused: too many sessions"
    MALFORMED_DATAGRAMS = "malformed-datagrams", "datagrams without a TSP header"
    REPEATED_DATAGRAMS = "repeated-datagrams", "datagrams that came again"
    STRANGERS = "strangers", "requests over UDP from clients that have not authenticated"
    CUT_ANSWERS = (
        "cut-answers",
        "answers left empty: too large for a datagram, or for an unproved address",
    )
    MALFORMED = "malformed", Ending.MALFORMED.value
    UNSUPPORTED_VERSION = "unsupported-version", Ending.UNSUPPORTED_VERSION.value
    AUTHENTICATION_FAILED = "authentication-failed", Ending.AUTHENTICATION_FAILED.value
    REDIRECTED = "redirected", Ending.REDIRECTED.value
    TIMED_OUT = "timed-out", Ending.TIMED_OUT.value
    OFFER_LOST = "offer-lost", Ending.OFFER_LOST.value
    SHUT_DOWN = "shut-down", Ending.SHUT_DOWN.value
