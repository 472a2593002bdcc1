"""Messages ⇄ bytes: encode and decode functions written and compiled once per betterproto2 message class.

    codec = codec_for(EchoRequest)
    codec.encode(EchoRequest(payload=b"x"))     # b"\\n\\x01x"
    codec.decode(b"\\n\\x01x")                    # EchoRequest(payload=b"x")
    print(codec.source)                         # the Python source of both, as does: python -m wire.codec proto.echo.v1:EchoRequest

In: betterproto2 classes, their messages, bytes. Out: `Codec`, bytes, messages; EncodeError and DecodeError, nothing else.
betterproto2 itself takes a message apart field by field from its metadata at each call; here that metadata is turned
into straight code first. Imports betterproto2 and `errors`.
"""

from wire.codec.codec import Codec, codec_for

__all__ = ["Codec", "codec_for"]
