"""`python -m wire.generate`: see `--help`."""

from __future__ import annotations

import argparse
import sys

from wire.errors import WireError
from wire.generate.compiler import generate


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m wire.generate",
        description="Make Python of .proto files: message classes, and a typed base and stub for each service.",
    )
    parser.add_argument("files", nargs="+", metavar="FILE.proto")
    parser.add_argument(
        "-I", "--include", action="append", default=[], metavar="DIR",
        help="where files and their imports lie (may be repeated; default: the folders of the files)",
    )  # fmt: skip
    parser.add_argument("--out", required=True, metavar="DIR", help="the Python package to write into")
    parser.add_argument(
        "--messages", choices=["betterproto2", "google", "none"], default="betterproto2",
        help="betterproto2: make message classes (default); google: use protoc's _pb2 modules; none: the messages of "
        "betterproto2 exist already",
    )  # fmt: skip
    parser.add_argument("--quiet", action="store_true", help="do not list what was written")
    options = parser.parse_args(arguments)
    try:
        written = generate(options.files, options.out, include=options.include, messages=options.messages)
    except (WireError, OSError) as error:
        print(f"wire.generate: {error}", file=sys.stderr)
        return 1
    if not options.quiet:
        for path in written:
            print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
