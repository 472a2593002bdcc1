"""The server's side.

    turns           which of the connections' callbacks and tasks run in this turn of the loop, and which later
    held_messages   bounds the long messages that a connection's handlers hold
    parts           what a connection needs of a call
    connection      one client's connection: which handler a request goes to, how many run, how it ends
    context         what a handler may know and say about its call
    responses       whatever a handler may return as its stream of responses
    handler_threads plain handlers in threads; thread_streams: those that stream
    route           a method as a server runs it
    postponed       the task of a handler that waits for its turn
    call            one call, from its request's headers to its status
    observed        calls with done callbacks
    request_calls   its two kinds: with one request, with a stream of them
    message_call    the kind whose handler is a plain function of each request
    routes          which of them a method's requests become
    slow_handlers   names handlers that hold the event loop
    trimming        hands the memory that connections freed back to the kernel
    server          routes, listening, stopping: `Server`
    activation      sockets that a service manager hands over
    workers         several processes behind one address
    serving         a whole server program in one call: `serve`

Each imports only those above it."""
