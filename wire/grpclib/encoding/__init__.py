"""`grpclib.encoding`: codecs of messages and of status details."""
