"""The client's side.

    preparation       what all calls of one method begin and end with
    exchange          one call from below, what it sends and receives; the unary kind
    stream_exchange   the three kinds that stream
    observing         being told of a call's end
    call              one call as its user holds it
    dialing           one usable connection to a target
    connectivity      the state of a channel
    backoff           how long to wait after failures
    balancer          the choice: which connection a call goes to
    health            whether the server at the end of a connection can take calls
    outliers          leaving out an address whose calls fail
    resolver          which addresses a name stands for, again and again
    subchannel        the connections to one address, or to all of them
    pool              a channel's connections: which call goes where
    credentials       metadata that is made for each call
    callables         one method on one channel, callable
    retry, hedging    further attempts of a call
    method_config     what a service config says of a method's calls
    channel_base      what calls of one target share
    channel           those of an event loop: `Channel`

Each imports only those above it."""
