"""What code of 2016 asks of the beta API when it is used. Imports nothing."""

from __future__ import annotations

from typing import Any, NoReturn


def __getattr__(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(name)

    def missing(*arguments: Any, **options: Any) -> NoReturn:
        raise NotImplementedError(f"wire has no grpc.beta: use grpc's own API in the place of {name}")

    return missing
