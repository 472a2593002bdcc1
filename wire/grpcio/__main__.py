"""`python -m wire.grpcio SCRIPT ARGS…` or `-m MODULE ARGS…`: run a program with `import grpc` meaning `wire.grpcio`."""

from wire._install import run_program
from wire.grpcio._install import install

if __name__ == "__main__":
    run_program(install, "python -m wire.grpcio")
