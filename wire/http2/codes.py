"""HTTP/2's registries: error codes, frame types, settings and fixed limits. Imports nothing.

Source: RFC 9113 §6, §7 and §11.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"  # RFC 9113 §3.4
MAX_STREAM_ID: Final = 2**31 - 1  # §5.1.1
MAX_WINDOW_BYTES: Final = 2**31 - 1  # §6.9.1
DEFAULT_WINDOW_BYTES: Final = 65_535  # §6.9.2
MIN_MAX_FRAME_BYTES: Final = 2**14  # §6.5.2
MAX_MAX_FRAME_BYTES: Final = 2**24 - 1


class ErrorCode(IntEnum):
    """RFC 9113 §7."""

    NO_ERROR = 0x0
    PROTOCOL_ERROR = 0x1
    INTERNAL_ERROR = 0x2
    FLOW_CONTROL_ERROR = 0x3
    SETTINGS_TIMEOUT = 0x4
    STREAM_CLOSED = 0x5
    FRAME_SIZE_ERROR = 0x6
    REFUSED_STREAM = 0x7
    CANCEL = 0x8
    COMPRESSION_ERROR = 0x9
    CONNECT_ERROR = 0xA
    ENHANCE_YOUR_CALM = 0xB
    INADEQUATE_SECURITY = 0xC
    HTTP_1_1_REQUIRED = 0xD


class FrameType(IntEnum):
    """RFC 9113 §6."""

    DATA = 0x0
    HEADERS = 0x1
    PRIORITY = 0x2
    RST_STREAM = 0x3
    SETTINGS = 0x4
    PUSH_PROMISE = 0x5
    PING = 0x6
    GOAWAY = 0x7
    WINDOW_UPDATE = 0x8
    CONTINUATION = 0x9


class Setting(IntEnum):
    """RFC 9113 §6.5.2."""

    HEADER_TABLE_SIZE = 0x1
    ENABLE_PUSH = 0x2
    MAX_CONCURRENT_STREAMS = 0x3
    INITIAL_WINDOW_SIZE = 0x4
    MAX_FRAME_SIZE = 0x5
    MAX_HEADER_LIST_SIZE = 0x6


def error_name(code: int) -> str:
    """`CANCEL` for 8; codes outside the registry read as `0x1f`. Unknown codes are legal (§7)."""
    try:
        return ErrorCode(code).name
    except ValueError:
        return f"{code:#x}"
