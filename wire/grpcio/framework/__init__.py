"""What is left of the API before `grpc`."""
