"""`grpclib.reflection.v1`: the messages, base and stub of grpc.reflection.v1."""
