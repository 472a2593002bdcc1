"""The server's side.

    connection      one client's connection: which handler a request goes to, how many run, how it ends
    context         what a handler may know and say about its call
    call            one call, from its request's headers to its status
    slow_handlers   names handlers that hold the event loop
    server          routes, listening, stopping: `Server`
    workers         several processes behind one address

Each imports only those above it."""
