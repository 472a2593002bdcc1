"""Kinds of methods."""

import enum


@enum.unique
class Cardinality(enum.Enum):
    """Whether a method takes, and gives, one message or a stream of them."""

    UNARY_UNARY = "request-unary/response-unary"
    UNARY_STREAM = "request-unary/response-streaming"
    STREAM_UNARY = "request-streaming/response-unary"
    STREAM_STREAM = "request-streaming/response-streaming"
