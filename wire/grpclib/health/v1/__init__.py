"""`grpclib.health.v1`: the messages, base and stub of grpc.health.v1."""
