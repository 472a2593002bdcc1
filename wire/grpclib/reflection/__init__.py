"""`grpclib.reflection`: server reflection."""
