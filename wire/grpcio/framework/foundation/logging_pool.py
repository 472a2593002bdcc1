"""A pool of threads that logs what its work raises."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import wraps
from typing import Any

_LOGGER = logging.getLogger("grpc.framework.foundation.logging_pool")


def _logged(work: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(work)
    def run(*args: Any, **kwargs: Any) -> Any:
        try:
            return work(*args, **kwargs)
        except Exception:
            _LOGGER.exception("Unexpected exception from %s executed in logging pool!", work)
            raise

    return run


class _LoggingPool(ThreadPoolExecutor):
    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        return super().submit(_logged(fn) if hasattr(fn, "__name__") else fn, *args, **kwargs)


def pool(max_workers: int) -> ThreadPoolExecutor:
    """A pool of so many threads."""
    return _LoggingPool(max_workers)
