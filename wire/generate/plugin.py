"""`protoc-gen-wire`, a plugin of protoc and buf: the typed bases and stubs of `services`, and nothing else.

protoc --python_betterproto2_out=DIR --wire_out=DIR FILE.proto        messages of betterproto2
protoc --python_out=DIR --wire_out=messages=google:DIR FILE.proto     messages of google.protobuf
"""

from __future__ import annotations

import sys

from google.protobuf.compiler.plugin_pb2 import CodeGeneratorRequest, CodeGeneratorResponse
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from wire.generate.services import service_files

_PARAMETERS = {"": False, "messages=betterproto2": False, "messages=google": True}


def main() -> None:
    if len(sys.argv) > 1 or sys.stdin.isatty():
        print(__doc__, end="")  # protoc gives no arguments, and a request on standard input
        return
    request = CodeGeneratorRequest.FromString(sys.stdin.buffer.read())
    response = CodeGeneratorResponse(supported_features=CodeGeneratorResponse.FEATURE_PROTO3_OPTIONAL)
    google = _PARAMETERS.get(request.parameter)
    if google is None:
        response.error = f"wire: the parameter is messages=betterproto2 or messages=google, and not {request.parameter}"
    else:
        descriptors = FileDescriptorSet(file=request.proto_file).SerializeToString()
        for name, text in service_files(descriptors, request.file_to_generate, google=google).items():
            response.file.add(name=name, content=text)
    sys.stdout.buffer.write(response.SerializeToString())


if __name__ == "__main__":
    main()
