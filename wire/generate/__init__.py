"""From .proto files to Python: message classes, and for each service a typed base and a typed stub.

    python -m wire.generate [-I DIR] --out DIR FILE.proto…

`compiler` runs protoc and betterproto2's compiler, `services` writes the bases and stubs, `plugin` is the same for
protoc and buf (`protoc-gen-wire`). All of it needs the extra `codegen`, and nothing that is generated needs it again.
Imports of wire only `service_names` and `errors`.
"""
