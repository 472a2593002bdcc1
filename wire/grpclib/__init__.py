"""grpclib's names over wire: programs written for grpclib, and what betterproto generates for it, run unchanged.

Three ways in, of which the first takes an edit:

    import wire.grpclib as grpclib

    import wire.grpclib
    wire.grpclib.install()              # from now on `import grpclib` means this, anywhere in the process

    python -m wire.grpclib server.py    # or -m MODULE: installs, then runs the program

Modules have the names they have in grpclib. Everything is translated for wire's public API in `_core`; no module here
sends or receives anything itself. Needs the extra `grpclib`. docs/from-grpclib.md says what differs.
"""

from wire._install import install_as
from wire.grpclib._version import __version__
from wire.grpclib.const import Status
from wire.grpclib.exceptions import GRPCError

__all__ = ("GRPCError", "Status", "__version__", "install")


def install() -> None:
    """Let `import grpclib` mean this package, in the whole process.

    Raises `wire.UsageError` when grpclib itself was imported before: whoever did so would keep it.
    """
    install_as("grpclib", __name__)
