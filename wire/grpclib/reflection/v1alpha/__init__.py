"""`grpclib.reflection.v1alpha`: the messages, base and stub of grpc.reflection.v1alpha."""
