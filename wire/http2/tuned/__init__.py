"""The hand-tuned HTTP/2 engine (RFC 9113) and its HPACK coder (RFC 7541).

    frames     frame header, flags, and the frames that are built whole
    huffman    HPACK's Huffman code, a byte at a time
    fields     which field sections are legal, and what each one is
    pattern    header blocks that differ from the one before in one value
    decoder    header blocks → field sections, each distinct block decoded once
    encoder    header lists → blocks, each shared list encoded once
    reader     bytes → frames: what is not whole yet, sizes and places, field blocks
    replies    the frames of a whole reply
    streams    the state of one stream, its windows and the connection's
    state      what both halves of an engine know of their connection
    sender     everything that an engine sends
    requests   requests that are read as a whole
    engine     everything that it receives: `TunedEngine`, a server's
    client     what is otherwise on a client: `ClientEngine`

Each imports only those above it, `wire.http2`'s `codes`, `engine` (the contract) and `limits`, `wire.config` and
`wire.errors`."""
