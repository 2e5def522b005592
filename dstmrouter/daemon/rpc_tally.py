"""What is counted of RPC calls."""

from __future__ import annotations

from dstmrouter.daemon.tally import Tally


class RpcTally(Tally):
    """What became of calls, from the outermost layer to the innermost."""

    RECORD_REFUSED = "records-refused", "TCP record over the limit or never ending; closed"
    NO_CALL = "no-calls", "octets that are no RPC call; TCP: closed, UDP: dropped"
    DENIED = "calls-denied", "RPC version other than 2, or a credential that is not taken"
    PROG_UNAVAIL = "program-unavailable", "calls of a program that is not ours"
    PROG_MISMATCH = "version-mismatch", "calls of a version that we do not have"
    PROC_UNAVAIL = "procedure-unavailable", "calls of a procedure that we do not have"
    GARBAGE_ARGS = "garbage-arguments", "arguments that are not those of the procedure"
    SYSTEM_ERR = "system-errors", "calls that failed through our own fault; the log has more"
    NULL = "null-calls", "calls of procedure 0, a ping"
    DUPLICATE = "duplicates", "copies of a call, answered with the reply to the first"
    DUPLICATE_DROPPED = "duplicates-dropped", "copies over UDP of a call at work, dropped"
    BUSY = "calls-busy", "as many calls at work as allowed: told to come again"
    COOKIE = "cookies", "UDP callers that must first show that their address is their own"
    GRANTED = "answers-lease", "answers with a lease"
    RELEASED = "answers-released", "leases given back, or gone before"
    RETRY = "answers-retry", "answers that ask to come again"
    REFUSED = "answers-refused", "answers that say no"
