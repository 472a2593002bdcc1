"""The turns of the event loop, shared among the connections of one server.

A read of some kilobytes starts a hundred handlers, a window that opens lets a thousand go on, and a client that is gone
leaves as many to be cancelled. Each is a task that runs within the loop's next turn, however long it takes: a hundred
that make a response of 1 MiB are a tenth of a second in which nobody else is served. So only some are let go in one
turn, and the rest in turns to come, some of each connection after the other; how many depends on how long turns took
with them. What may begin later goes the same way: reading on, and calls that waited.

In: callbacks, of connections. Out: the same, perhaps some turns later. Imports nothing of wire.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from time import perf_counter
from typing import Any, Final

_LEAST: Final = 4  # tasks that are let go in any turn
_FIRST: Final = 8
_MOST: Final = 64
_TOGETHER: Final = 16  # tasks of one connection are let go in a row: their replies leave in one write
_STEP: Final = 4  # more, after a turn that was short with as many as may be
_FAR: Final = 8  # times as long as a turn may take: then there is no halving

Callback = Callable[[], object]


class Turns:
    """`call_soon`: the event loop's; `max_turn_s`: a turn that takes twice as long lets fewer go in the next.

    `free`: tasks that may be let go without another look. Who lets one go takes one off, and asks `let_go` when there
    is none. So few tasks cost a subtraction each, and a callback of the loop's for each `_MOST` of them. `long_s`: what
    takes longer is to take its share of the turns.
    """

    __slots__ = (
        "_began_at",
        "_call_soon",
        "_ends_at",
        "_gone",
        "_late",
        "_max_turn_s",
        "_planned",
        "_share",
        "_sure",
        "_waiting",
        "free",
        "long_s",
    )

    def __init__(self, call_soon: Callable[..., Any], max_turn_s: float) -> None:
        self._call_soon = call_soon
        self._max_turn_s = max_turn_s
        self.long_s = max_turn_s / 4
        self._share = _FIRST  # may be let go in one turn; twice that, where the turn before let none go
        self.free = _FIRST
        self._gone = 0  # that were let go since `_began_at`, as far as is known
        self._sure = True  # all of these began or went on, so that how long they took tells of the next ones
        self._planned = False  # `_next` is among the loop's callbacks
        self._began_at = 0.0
        self._ends_at = 0.0
        self._waiting: dict[object, deque[tuple[Callback, int, bool]]] = {}
        self._late: list[tuple[object, Callback, int, bool]] | None = None  # added by these, while some are called

    def let_go(self) -> bool:
        """`free` is 0: whether one more task may be let go in this turn all the same. If not, `add` it."""
        if self._planned:
            return False
        self._plan()  # none of those before may have been in this turn
        self._gone = self._share
        self.free = self._share - 1
        return True

    def add(self, connection: object, callback: Callback, *, tasks: int = 0, ending: bool = False) -> None:
        """Have it called in one of the turns to come, behind what the same connection added before. `tasks`: 1 when
        that lets a task go. `ending`: to its end, by a cancellation, which says nothing of how long others take."""
        if self._late is not None:
            self._late.append((connection, callback, tasks, ending))
            return
        waiting = self._waiting.get(connection)
        if waiting is None:
            waiting = self._waiting[connection] = deque()
            self._plan()
        waiting.append((callback, tasks, ending))

    def end(self) -> float:
        """When the present turn should be over, on `perf_counter`'s clock."""
        self._plan()
        return self._ends_at

    def close(self) -> None:
        """Forget what waits."""
        self._waiting.clear()

    def _plan(self) -> None:
        if not self._planned:
            self._planned = True
            self._gone = 0
            self._began_at = perf_counter()
            self._ends_at = self._began_at + self._max_turn_s
            self._call_soon(self._next)

    def _next(self) -> None:
        """In the turn after that in which it was planned."""
        now = perf_counter()
        spent_s = now - self._began_at
        if spent_s > 2 * self._max_turn_s:
            self._share = _LEAST if spent_s > _FAR * self._max_turn_s else max(_LEAST, self._share // 2)
        elif spent_s < self._max_turn_s and self._gone >= self._share and not self.free and self._sure:
            self._share = min(_MOST, self._share + _STEP)
        self._began_at = now
        self._ends_at = now + self._max_turn_s
        self._gone = 0
        self._sure = True
        waiting = self._waiting
        if not waiting:
            self._planned = False
            self.free = self._share
            return
        self.free = 0  # what comes in this turn is behind what waits
        self._call_soon(self._next)
        late: list[tuple[object, Callback, int, bool]] = []
        self._late = late
        try:
            row = 0  # of the connection that has its turn, one behind another
            for _ in range(_MOST):
                connection, callbacks = next(iter(waiting.items()))
                if self._gone >= self._share and callbacks[0][1]:
                    break
                callback, tasks, ending = callbacks.popleft()
                row += 1
                if not callbacks or row == _TOGETHER or not tasks:
                    del waiting[connection]
                    row = 0
                    if callbacks:
                        waiting[connection] = callbacks  # behind the others
                self._gone += tasks
                self._sure = self._sure and not ending
                callback()
                if not waiting:
                    break
                if perf_counter() >= self._ends_at:
                    if row:  # one that takes long is not before the others in the next turn
                        waiting[connection] = waiting.pop(connection)
                    break
        finally:  # a callback may raise
            self._late = None
            for connection, callback, tasks, ending in late:
                self.add(connection, callback, tasks=tasks, ending=ending)
