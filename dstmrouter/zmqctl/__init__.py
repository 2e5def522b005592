"""ZeroMQ between servers and routers: the binding feed, pushed bindings, control calls.

The messages are public and described in docs/zmq-protocol.md. Servers that are not ours use
`LeasePusher`, programs that bill `UsageSubscriber`.
"""

from dstmrouter.zmqctl.client import AsyncControlClient, ControlClient, RefusedError
from dstmrouter.zmqctl.control import ControlServer, Handler
from dstmrouter.zmqctl.keys import CurveClient, CurveServer, KeyPair, load_keys, write_keys
from dstmrouter.zmqctl.publisher import FeedPublisher
from dstmrouter.zmqctl.pusher import Binding, LeasePusher, PushResult
from dstmrouter.zmqctl.roster import RouterState
from dstmrouter.zmqctl.snapshots import StoreStamp
from dstmrouter.zmqctl.subscriber import FeedFollower
from dstmrouter.zmqctl.update import Apply, ApplyResult, BindingUpdate
from dstmrouter.zmqctl.usage_columns import UsageColumns
from dstmrouter.zmqctl.usage_follower import UsageReport
from dstmrouter.zmqctl.usage_subscriber import UsageSubscriber

__all__ = [
    "Apply",
    "ApplyResult",
    "AsyncControlClient",
    "Binding",
    "BindingUpdate",
    "ControlClient",
    "ControlServer",
    "CurveClient",
    "CurveServer",
    "FeedFollower",
    "FeedPublisher",
    "Handler",
    "KeyPair",
    "LeasePusher",
    "PushResult",
    "RefusedError",
    "RouterState",
    "StoreStamp",
    "UsageColumns",
    "UsageReport",
    "UsageSubscriber",
    "load_keys",
    "write_keys",
]
