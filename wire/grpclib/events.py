"""`grpclib.events`: listeners that see, and may change, what channels and servers send and receive."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from wire.grpclib.const import Status
from wire.grpclib.metadata import Deadline, _Metadata

if TYPE_CHECKING:
    from wire.grpclib._typing import IEventsTarget, IServerMethodFunc
    from wire.grpclib.protocol import Peer


class _Event:
    """What a listener is called with. Fields in `__payload__` may be set, the others are read-only."""

    __slots__ = ("__interrupted__",)

    __interrupted__: bool
    __payload__: ClassVar[tuple[str, ...]] = ()

    def __init__(self, **fields: Any) -> None:
        object.__setattr__(self, "__interrupted__", False)
        for name, value in fields.items():
            object.__setattr__(self, name, value)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self.__slots__ and name not in self.__payload__:
            raise AttributeError(f"Read-only property: {name!r}")
        object.__setattr__(self, name, value)

    def interrupt(self) -> None:
        """Do not call the listeners that follow."""
        object.__setattr__(self, "__interrupted__", True)


_E = TypeVar("_E", bound=_Event)


class SendMessage(_Event):
    """A message is about to be sent. `message` may be replaced."""

    __slots__ = ("message",)
    __payload__ = ("message",)

    message: Any


class RecvMessage(_Event):
    """A message was received. `message` may be replaced."""

    __slots__ = ("message",)
    __payload__ = ("message",)

    message: Any


class RecvRequest(_Event):
    """A server has received a request, and is about to call its handler. `metadata` and `method_func`, the handler, may
    be replaced."""

    __slots__ = ("content_type", "deadline", "metadata", "method_func", "method_name", "peer", "user_agent")
    __payload__ = ("metadata", "method_func")

    metadata: _Metadata
    method_func: IServerMethodFunc
    method_name: str
    deadline: Deadline | None
    content_type: str
    user_agent: str | None
    peer: Peer


class SendInitialMetadata(_Event):
    """A server is about to send the headers of a response. `metadata` may be replaced."""

    __slots__ = ("metadata",)
    __payload__ = ("metadata",)

    metadata: _Metadata


class SendTrailingMetadata(_Event):
    """A server is about to send a status. `metadata` may be replaced."""

    __slots__ = ("metadata", "status", "status_details", "status_message")
    __payload__ = ("metadata",)

    metadata: _Metadata
    status: Status
    status_message: str | None
    status_details: Any


class SendRequest(_Event):
    """A client is about to send the headers of a request. `metadata` may be replaced."""

    __slots__ = ("content_type", "deadline", "metadata", "method_name")
    __payload__ = ("metadata",)

    metadata: _Metadata
    method_name: str
    deadline: Deadline | None
    content_type: str


class RecvInitialMetadata(_Event):
    """A client has received the headers of a response. `metadata` may be replaced."""

    __slots__ = ("metadata",)
    __payload__ = ("metadata",)

    metadata: _Metadata


class RecvTrailingMetadata(_Event):
    """A client has received a status. `metadata` may be replaced."""

    __slots__ = ("metadata", "status", "status_details", "status_message")
    __payload__ = ("metadata",)

    metadata: _Metadata
    status: Status
    status_message: str | None
    status_details: Any


_Listener = Callable[[Any], Awaitable[None]]


class Dispatch:
    """The listeners of one channel or server, by event. An event that nobody listens to is never made: callers ask for
    its list first, which is then empty."""

    __slots__ = ("_listeners", "silent")

    def __init__(self, *events: type[_Event]) -> None:
        self.silent = True
        """Whether nobody listens to anything."""
        self._listeners: dict[type[_Event], list[_Listener]] = {event: [] for event in events}

    def add_listener(self, event: type[_Event], callback: _Listener) -> None:
        """Raises KeyError for an event that does not happen here."""
        self._listeners[event].append(callback)
        self.silent = False

    def listeners(self, event: type[_Event]) -> list[_Listener]:
        """Those of an event, now and later: the list grows with them."""
        return self._listeners[event]


async def notify(listeners: list[_Listener], event: _E) -> _E:
    """Call listeners in order, until one interrupts; what they left in the event is for the caller to use."""
    for listener in listeners:
        await listener(event)
        if event.__interrupted__:
            break
    return event


def server_dispatch() -> Dispatch:
    return Dispatch(SendMessage, RecvMessage, RecvRequest, SendInitialMetadata, SendTrailingMetadata)


def channel_dispatch() -> Dispatch:
    return Dispatch(SendMessage, RecvMessage, SendRequest, RecvInitialMetadata, RecvTrailingMetadata)


def listen(target: IEventsTarget, event_type: type[_E], callback: Callable[[_E], Awaitable[None]]) -> None:
    """Have `callback`, a coroutine function, called with each event of that type on a channel or server.

    Raises KeyError for an event that does not happen there.
    """
    target.__dispatch__.add_listener(event_type, callback)
