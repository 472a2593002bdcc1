"""The programs: `python -m bin.server`, `bin.client`, `bin.bench`."""

import signal
import sys

if sys.argv[:1] == ["-m"]:
    # A program of ours is about to be imported, which takes a while: Ctrl-C then ends it without a traceback, until
    # `cli.run_main` takes over. (Python sets argv[0] to "-m" while it looks for the module to run.)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
