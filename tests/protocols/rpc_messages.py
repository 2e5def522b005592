"""Values of every RPC type, for hypothesis."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

from hypothesis import strategies as st

from dstmrouter.protocols import dstm_rpc, rpcbind
from dstmrouter.protocols.granted import PortSet
from dstmrouter.protocols.oncrpc import Accepted, AcceptStat, AuthRejected, Call, RpcMismatch
from dstmrouter.protocols.rpc_auth import AuthStat, AuthSys, OpaqueAuth

uint32 = st.integers(0, 0xFFFFFFFF)
uint64 = st.integers(0, 0xFFFFFFFFFFFFFFFF)
address6 = st.ip_addresses(v=6).map(lambda found: IPv6Address(found.packed))
address4 = st.ip_addresses(v=4).map(lambda found: IPv4Address(found.packed))


def octets(limit: int) -> st.SearchStrategy[bytes]:
    return st.binary(max_size=limit)


def units() -> st.SearchStrategy[bytes]:
    """Something in XDR: a multiple of four octets."""
    return st.lists(st.binary(min_size=4, max_size=4), max_size=8).map(b"".join)


auth_sys = st.builds(
    AuthSys,
    stamp=uint32,
    machine=octets(255),
    uid=uint32,
    gid=uint32,
    gids=st.lists(uint32, max_size=16).map(tuple),
)
any_auth = st.builds(OpaqueAuth, flavor=uint32, body=octets(400))
credentials = st.just(OpaqueAuth(flavor=0)) | auth_sys.map(AuthSys.encode)
calls = st.builds(
    Call,
    xid=uint32,
    program=uint32,
    version=uint32,
    procedure=uint32,
    arguments=units(),
    credential=credentials,
)
other_stats = [s for s in AcceptStat if s not in {AcceptStat.SUCCESS, AcceptStat.PROG_MISMATCH}]
replies = st.one_of(
    st.builds(
        Accepted, xid=uint32, stat=st.just(AcceptStat.SUCCESS), results=units(), verifier=any_auth
    ),
    st.builds(
        Accepted,
        xid=uint32,
        stat=st.just(AcceptStat.PROG_MISMATCH),
        versions=st.tuples(uint32, uint32),
        verifier=any_auth,
    ),
    st.builds(Accepted, xid=uint32, stat=st.sampled_from(other_stats), verifier=any_auth),
    st.builds(RpcMismatch, xid=uint32, low=uint32, high=uint32),
    st.builds(AuthRejected, xid=uint32, stat=st.sampled_from(AuthStat)),
)

port_sets = st.builds(PortSet, psid_offset=uint32, psid_len=uint32, psid=uint32)
leases = st.builds(
    dstm_rpc.Lease,
    lease_id=uint64,
    client6=address6,
    tep6=address6,
    tep4=address4,
    client4=address4,
    prefix4_len=uint32,
    ports=port_sets,
    lifetime=uint32,
    t1=uint32,
    t2=uint32,
    mtu=uint32,
    state=st.sampled_from(dstm_rpc.LeaseState),
)
allocate_args = st.builds(
    dstm_rpc.AllocateArgs,
    client6=address6,
    client_id=octets(128),
    hint4=address4,
    want_lifetime=uint32,
    want_psid_len=uint32,
    cookie=octets(32),
)
reference_args = st.builds(
    dstm_rpc.ReferenceArgs,
    lease_id=uint64,
    client6=address6,
    client_id=octets(128),
    want_lifetime=uint32,
)
results = st.one_of(
    leases,
    st.builds(dstm_rpc.CookieNeeded, cookie=octets(32)),
    st.builds(
        dstm_rpc.RetryLater,
        stat=st.sampled_from(sorted(dstm_rpc.RETRY_STATS)),
        retry_after=uint32,
    ),
    st.builds(
        dstm_rpc.Refused,
        stat=st.sampled_from(sorted(dstm_rpc.TEXT_STATS)),
        text=st.text(max_size=63),  # up to four octets a character
    ),
)
short_text = st.text(max_size=64)
bindings = st.builds(
    rpcbind.Binding,
    program=uint32,
    version=uint32,
    netid=short_text,
    address=short_text,
    owner=short_text,
)
