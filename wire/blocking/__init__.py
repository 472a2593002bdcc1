"""Calls for threads, without an event loop anywhere.

    with wire.blocking.Channel("127.0.0.1:50051") as channel:
        reply = EchoStub(channel).echo(EchoRequest(payload=b"hello"), timeout=1.0)

The same stubs, connections and calls as on an event loop (`wire.client`), over a runtime that the waiting threads turn:

    poller, futures    which sockets are ready; futures, tasks and timers
    runtime            one lock, and the thread that leads
    socket_transport, waits   sockets that are sent to and received from without the lock; what connecting waits for
    attendant          the thread that looks after what no other waits for
    channel, call, callables  a target; one call; a method on a channel

docs/blocking.md says what it promises.
"""

from wire.blocking.call import StreamStreamCall, StreamUnaryCall, UnaryStreamCall, UnaryUnaryCall
from wire.blocking.callables import StreamStreamCallable, StreamUnaryCallable, UnaryStreamCallable, UnaryUnaryCallable
from wire.blocking.channel import Channel

__all__ = [
    "Channel",
    "StreamStreamCall",
    "StreamStreamCallable",
    "StreamUnaryCall",
    "StreamUnaryCallable",
    "UnaryStreamCall",
    "UnaryStreamCallable",
    "UnaryUnaryCall",
    "UnaryUnaryCallable",
]
