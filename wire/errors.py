"""Every exception that wire raises, as one tree. The last two are in `status`, beside the codes that they carry.

    WireError
    ├── ConfigurationError   a value given to wire is wrong        (also a ValueError)
    │   ├── AddressError         an address that cannot be read
    │   ├── MetadataError        a metadata key or value gRPC forbids
    │   └── ServiceError         a service description or servicer that does not fit
    ├── UsageError           a call at the wrong time              (also a RuntimeError)
    ├── TransportError       the socket layer said no              (also an OSError)
    │   ├── ConnectError         no connection could be made
    │   ├── ListenError          an address could not be listened on
    │   └── TlsError             certificates or the TLS handshake
    ├── CodecError           a message and its bytes do not fit
    │   ├── EncodeError
    │   └── DecodeError
    └── RpcError             a call ended with a gRPC status other than OK
        └── CallError            one that this process made

The text of each is one sentence that a user can be shown as it is. Imports nothing.
"""

from __future__ import annotations


class WireError(Exception):
    """Base of everything wire raises on purpose."""


class ConfigurationError(WireError, ValueError):
    """A value handed to wire is wrong; nothing was done with it."""


class AddressError(ConfigurationError):
    """An address is not in gRPC's name syntax, or its parts are out of range."""


class MetadataError(ConfigurationError):
    """A metadata key or value that gRPC's wire format forbids."""


class ServiceError(ConfigurationError):
    """A service description is inconsistent, or a servicer does not implement it."""


class UsageError(WireError, RuntimeError):
    """A method was called at a time when it cannot work, such as on a closed channel."""


class TransportError(WireError, OSError):
    """The socket layer refused or failed. `errno` is kept where the system gave one."""

    def __init__(self, message: str, errno: int | None = None) -> None:
        super().__init__(message)
        self.errno = errno
        self.message = message

    def __str__(self) -> str:
        return self.message


class ConnectError(TransportError):
    """No connection could be made to an address."""


class ListenError(TransportError):
    """An address could not be listened on."""


class TlsError(TransportError):
    """A certificate or key could not be used, or the TLS handshake failed."""


class CodecError(WireError):
    """A message and its bytes do not fit each other."""


class EncodeError(CodecError):
    """A message holds a value that its protobuf type cannot carry."""


class DecodeError(CodecError):
    """Bytes that are not a valid encoding of the expected message type."""


def is_cancellation(error: BaseException, cancelled: type[BaseException]) -> bool:
    """True for a task's cancellation, also in a group that holds nothing else."""
    if isinstance(error, BaseExceptionGroup):
        return error.split(cancelled)[1] is None
    return isinstance(error, cancelled)


def is_loops_own(error: BaseException, cancelled: type[BaseException]) -> bool:
    """True for what a task must let through, itself or in a group: its cancellation, and what ends the program.

    Anything else that the user's code raises, `BaseException` or not, ends one call and nothing more.
    """
    own = (cancelled, KeyboardInterrupt, SystemExit)
    if isinstance(error, BaseExceptionGroup):
        return error.subgroup(own) is not None
    return isinstance(error, own)
