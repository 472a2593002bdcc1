"""`grpc.beta`, which code generated in 2016 imports beside `grpc` itself. Its functions raise one sentence."""
