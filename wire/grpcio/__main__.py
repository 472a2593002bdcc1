"""`python -m wire.grpcio SCRIPT ARGS…`: see `_install`."""

import sys

from wire.grpcio._install import run

run(sys.argv[1:])
