"""The reference HTTP/2 engine: an adapter over PyPI's h2.

    reader          bytes → whole frames, judged by size and place
    field_decoder   field blocks → field sections
    sender          everything that an engine sends
    engine          everything that it receives: `H2Engine`

Each imports only those above it, h2 and hpack, and what `wire.http2` shares between both engines."""
