"""`grpclib.health`: health checking."""
