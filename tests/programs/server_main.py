"""The command `wire-server`, where it is not installed."""

from wire.programs.server import run

if __name__ == "__main__":
    run()
