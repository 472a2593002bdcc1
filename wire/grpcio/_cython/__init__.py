"""Where grpcio has its compiled core; see `cygrpc`."""
