"""How a method's name in a .proto file becomes one in Python: "EchoStream" is `echo_stream`. Imports nothing."""

from __future__ import annotations

import keyword
import re

_WORD_STARTS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_TAKEN = frozenset(
    {"service", "channel", "on_attach", "on_drain"}
)  # attributes that stubs and servicers have themselves


def python_name(name: str) -> str:
    """The name of a method's handler and of its attribute in a stub: PEP 8's, with "_" behind a name that is taken."""
    snake = _WORD_STARTS.sub("_", name).lower()
    return f"{snake}_" if keyword.iskeyword(snake) or snake in _TAKEN else snake
