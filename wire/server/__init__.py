"""The server's side.

    held_messages   bounds the long messages that a connection's handlers hold
    connection      one client's connection: which handler a request goes to, how many run, how it ends
    context         what a handler may know and say about its call
    responses       whatever a handler may return as its stream of responses
    handler_threads plain handlers in threads; thread_streams: those that stream
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
