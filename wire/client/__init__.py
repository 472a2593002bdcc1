"""The client's side.

    exchange          one call from below, what it sends and receives; the unary kind
    stream_exchange   the three kinds that stream
    call              one call as its user holds it
    dialing           one usable connection to a target
    pool              a channel's connections: which call goes where
    channel           what calls of one target share: `Channel`

Each imports only those above it."""
