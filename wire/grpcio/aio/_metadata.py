"""`grpc.aio.Metadata`, a mutable multi-dict. Imports nothing."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, ItemsView, Iterable, Iterator, KeysView, ValuesView
from typing import Any, Self

MetadataKey = str
MetadataValue = str | bytes
MetadatumType = tuple[MetadataKey, MetadataValue]
MetadataType = Any
"""A `Metadata`, or a sequence of pairs."""


class Metadata(Collection[MetadatumType]):
    """Metadata of a call: keys with one or more values each. `metadata[key]` is the first value; iterating gives
    (key, value) pairs, the values of one key together."""

    def __init__(self, *args: MetadatumType) -> None:
        self._metadata: OrderedDict[str, list[str | bytes]] = OrderedDict()
        for key, value in args:
            self.add(key, value)

    @classmethod
    def from_tuple(cls, raw_metadata: Iterable[MetadatumType] | None) -> Self:
        return cls(*raw_metadata) if raw_metadata else cls()

    @classmethod
    def _create(cls, raw_metadata: Self | Iterable[MetadatumType] | None) -> Self:
        return raw_metadata if isinstance(raw_metadata, cls) else cls.from_tuple(raw_metadata)

    def add(self, key: str, value: str | bytes) -> None:
        self._metadata.setdefault(key, []).append(value)

    def __len__(self) -> int:
        return sum(map(len, self._metadata.values()))

    def __getitem__(self, key: str) -> str | bytes:
        try:
            return self._metadata[key][0]
        except (ValueError, IndexError):
            raise KeyError(repr(key)) from None

    def __setitem__(self, key: str, value: str | bytes) -> None:
        self._metadata[key] = [value, *self._metadata.get(key, [])[1:]]

    def __delitem__(self, key: str) -> None:
        values = self.get_all(key)
        if not values:
            raise KeyError(repr(key))
        del values[0]
        if not values:
            del self._metadata[key]

    def delete_all(self, key: str) -> None:
        del self._metadata[key]

    def __iter__(self) -> Iterator[MetadatumType]:
        for key, values in self._metadata.items():
            for value in values:
                yield key, value

    def keys(self) -> KeysView[str]:
        return KeysView(self._metadata)

    def values(self) -> ValuesView[list[str | bytes]]:
        return ValuesView(self._metadata)

    def items(self) -> ItemsView[str, list[str | bytes]]:
        return ItemsView(self._metadata)

    def get(self, key: str, default: str | bytes | None = None) -> str | bytes | None:
        try:
            return self[key]
        except KeyError:
            return default

    def get_all(self, key: str) -> list[str | bytes]:
        """The values of a key, as the list that is kept."""
        return self._metadata.get(key, [])

    def set_all(self, key: str, values: list[str | bytes]) -> None:
        self._metadata[key] = values

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and key in self._metadata

    def __eq__(self, other: object) -> bool:
        if isinstance(other, self.__class__):
            return self._metadata == other._metadata
        if isinstance(other, tuple):
            return tuple(self) == other
        return NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __add__(self, other: Any) -> Metadata:
        if isinstance(other, (self.__class__, tuple)):
            return Metadata(*self, *other)
        return NotImplemented

    def __repr__(self) -> str:
        return f"{self.__class__.__name__}({tuple(self)!r})"
