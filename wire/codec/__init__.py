"""Messages ⇄ bytes: encode and decode functions written and compiled once per betterproto2 message class.

    codec = codec_for(EchoRequest)
    codec.encode(EchoRequest(payload=b"x"))     # b"\\n\\x01x"
    codec.decode(b"\\n\\x01x")                    # EchoRequest(payload=b"x")
    print(codec.source)                         # the Python source of both

In: betterproto2 classes, their messages, bytes. Out: `Codec`, bytes, messages; EncodeError, DecodeError and no other.
betterproto2 takes a message apart by its metadata at each call; here the metadata becomes straight code once, which
`python -m wire.codec module:Class` shows. Imports betterproto2 and `errors`.

    codec.py      Codec and codec_for
    schema.py     what a class says about its fields
    encoder.py    writes encode
    decoder.py    writes decode
    source.py     the page they write on
    encoding.py   what written encode functions call
    decoding.py   what written decode functions call
    wellknown.py  datetime, timedelta and bare values in place of messages
"""

from wire.codec.codec import Codec, codec_for

__all__ = ["Codec", "codec_for"]
