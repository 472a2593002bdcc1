"""Interceptors that most programs want. Each is made by a function and given to `Server` or `Channel`:

    wire.Server([...], interceptors=[access_log(), bearer_auth(check), concurrency_limit(100)])
    wire.Channel(target, interceptors=[bearer_token("...")])

    logs         one line for each call that has ended
    auth         bearer tokens: checked on a server, sent by a client
    deadlines    what a handler calls gets the time that its caller has left
    limits       how many calls run at once, how many begin a second
    prometheus   metrics for Prometheus (the extra `prometheus`)
    telemetry    OpenTelemetry's traces and metrics (the extra `otel`)

They are written with what `wire` exports, so they are examples as well. The first interceptor given is the outermost.
"""
