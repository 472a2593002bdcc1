"""`python -m wire.codec module:Class`: prints the encode and decode functions of a message class."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

from wire.codec import codec_for
from wire.errors import WireError

USAGE = "usage: python -m wire.codec module:Class, for example proto.echo.v1:EchoRequest"


def main(arguments: list[str]) -> str:
    """The source that was asked for, or SystemExit with one sentence."""
    if {"-h", "--help"} & set(arguments):
        return f"{USAGE}\n\nPrints the encode and decode functions of a message class.\n"
    module_name, separator, class_name = arguments[0].partition(":") if len(arguments) == 1 else ("", "", "")
    if not (module_name and separator and class_name):
        print(USAGE, file=sys.stderr)
        raise SystemExit(2)
    sys.path.insert(0, str(Path.cwd()))
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        raise SystemExit(f"the module {module_name} cannot be imported: {error}") from None
    try:
        return codec_for(getattr(module, class_name)).source
    except AttributeError:
        raise SystemExit(f"the module {module_name} has no class {class_name}") from None
    except WireError as error:
        raise SystemExit(str(error)) from None


if __name__ == "__main__":
    sys.stdout.write(main(sys.argv[1:]))
