"""The page that generated code is written on: lines with indentation, names that do not collide, fields by line.

In: lines of Python. Out: their text, the namespace they run in, and the field that each line is about, so that the line
an exception comes from tells the field. Imports `schema`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from wire.codec.schema import Field

_LOCALS = (
    "budget bytearray bytes chunk data decode depth encode encoded end entry error item key known known_tags len "
    "length list max message more number parts pos size start tag unknown value"
)
"""Names that generated functions use themselves."""


class Page:
    """Generated source, and the namespace that it will run in."""

    __slots__ = ("_field", "_indent", "_lines", "_taken", "fields_by_line", "names", "namespace")

    def __init__(self, namespace: dict[str, Any]) -> None:
        self.namespace = namespace
        self.names: dict[Any, str] = {}  # of fields, ("oneof", group) and classes
        self.fields_by_line: list[Field | None] = []
        self._lines: list[str] = []
        self._indent = ""
        self._field: Field | None = None
        self._taken = {*_LOCALS.split(), *namespace}

    @property
    def text(self) -> str:
        return "\n".join(self._lines) + "\n"

    def line(self, text: str = "") -> None:
        self._lines.append(self._indent + text if text else "")
        self.fields_by_line.append(self._field)

    def lines(self, *texts: str) -> None:
        for text in texts:
            self.line(text)

    @contextmanager
    def block(self, opening: str) -> Iterator[None]:
        """Indents what is written inside it under `opening`."""
        self.line(opening)
        outer, self._indent = self._indent, self._indent + "    "
        yield
        self._indent = outer

    @contextmanager
    def about(self, field: Field) -> Iterator[None]:
        """Marks the lines written inside it as dealing with a field, and says so in a comment."""
        outer, self._field = self._field, field
        self.line(f"# {field.declaration}")
        yield
        self._field = outer

    def name(self, wanted: str) -> str:
        """A name nothing else on this page has: the one wanted, or that with underscores behind it."""
        while wanted in self._taken:
            wanted += "_"
        self._taken.add(wanted)
        return wanted

    def constant(self, wanted: str, value: Any) -> str:
        """Binds a value that generated code refers to; the same value keeps the name it has."""
        if self.namespace.get(wanted) is value:
            return wanted
        name = self.name(wanted)
        self.namespace[name] = value
        return name
