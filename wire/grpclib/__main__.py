"""`python -m wire.grpclib SCRIPT|-m MODULE ARGS…`: run a program with `import grpclib` meaning `wire.grpclib`."""

from wire._install import run_program
from wire.grpclib import install

if __name__ == "__main__":
    run_program(install, "python -m wire.grpclib")
