"""The client's side.

    exchange          one call from below, what it sends and receives; the unary kind
    stream_exchange   the three kinds that stream
    observing         being told of a call's end
    call              one call as its user holds it
    dialing           one usable connection to a target
    connectivity      the state of a channel
    pool              a channel's connections: which call goes where
    credentials       metadata that is made for each call
    callables         one method on one channel, callable
    channel_base      what calls of one target share
    channel           those of an event loop: `Channel`

Each imports only those above it."""
