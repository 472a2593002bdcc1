"""authzed, a client of SpiceDB on grpc and grpc.aio, with tokens as call credentials and by its own interceptor:
writing and reading relationships, checks, streams both ways, a watch, errors with details."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import grpc
from authzed.api import v1
from authzed.api.v1 import (
    experimental_service_pb2_grpc,
    permission_service_pb2_grpc,
    schema_service_pb2_grpc,
    watch_service_pb2_grpc,
)
from google.rpc import code_pb2, status_pb2
from grpc_status import rpc_status
from grpcutil import insecure_bearer_token_credentials


def relationship(resource, relation, subject):
    def reference(text):
        kind, _, name = text.partition(":")
        return v1.ObjectReference(object_type=kind, object_id=name)

    subject = v1.SubjectReference(object=reference(subject))
    return v1.Relationship(resource=reference(resource), relation=relation, subject=subject)


class SpiceDB(
    permission_service_pb2_grpc.PermissionsServiceServicer,
    schema_service_pb2_grpc.SchemaServiceServicer,
    watch_service_pb2_grpc.WatchServiceServicer,
    experimental_service_pb2_grpc.ExperimentalServiceServicer,
):
    """Whoever has a relation to a resource has the permission of that name."""

    def __init__(self):
        self.schema = ""
        self.relationships = {}
        self.revision = 0
        self.changed = threading.Condition()
        self.updates = []

    def token(self):
        return v1.ZedToken(token=str(self.revision))

    def WriteSchema(self, request, context):
        if "definition" not in request.schema:
            status = status_pb2.Status(code=code_pb2.INVALID_ARGUMENT, message="no definition")
            status.details.add().Pack(relationship("schema:1", "line", "column:1"))
            context.abort_with_status(rpc_status.to_status(status))
        self.schema = request.schema
        return v1.WriteSchemaResponse(written_at=self.token())

    def ReadSchema(self, request, context):
        if not self.schema:
            context.abort(grpc.StatusCode.NOT_FOUND, "no schema has been defined")
        return v1.ReadSchemaResponse(schema_text=self.schema, read_at=self.token())

    def WriteRelationships(self, request, context):
        with self.changed:
            for update in request.updates:
                key = update.relationship.SerializeToString(deterministic=True)
                if update.operation == v1.RelationshipUpdate.OPERATION_DELETE:
                    self.relationships.pop(key, None)
                elif update.operation == v1.RelationshipUpdate.OPERATION_CREATE and key in self.relationships:
                    context.abort(grpc.StatusCode.ALREADY_EXISTS, "relationship already exists")
                else:
                    self.relationships[key] = update.relationship
            self.updates += request.updates
            self.revision += 1
            self.changed.notify_all()
        return v1.WriteRelationshipsResponse(written_at=self.token())

    def CheckPermission(self, request, context):
        metadata = dict(context.invocation_metadata())
        if metadata.get("authorization") != "Bearer t0ken":
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "invalid token")
        found = any(
            each.resource == request.resource
            and each.relation == request.permission
            and each.subject == request.subject
            for each in self.relationships.values()
        )
        context.set_trailing_metadata((("io.spicedb.respmeta.dispatchedoperationscount", "1"),))
        return v1.CheckPermissionResponse(checked_at=self.token(), permissionship=2 if found else 1)

    def ReadRelationships(self, request, context):
        for each in list(self.relationships.values()):
            if each.resource.object_type == request.relationship_filter.resource_type:
                yield v1.ReadRelationshipsResponse(read_at=self.token(), relationship=each)

    def BulkImportRelationships(self, requests, context):
        number = 0
        for request in requests:
            for each in request.relationships:
                self.relationships[each.SerializeToString(deterministic=True)] = each
                number += 1
        return v1.BulkImportRelationshipsResponse(num_loaded=number)

    def BulkExportRelationships(self, request, context):
        known = list(self.relationships.values())
        for start in range(0, len(known), request.optional_limit):
            page = known[start : start + request.optional_limit]
            yield v1.BulkExportRelationshipsResponse(relationships=page)

    def Watch(self, request, context):
        told = 0
        context.add_callback(self.wake)
        context.send_initial_metadata(())
        while True:
            with self.changed:
                while context.is_active() and len(self.updates) == told:
                    self.changed.wait()
                updates, told = self.updates[told:], len(self.updates)
            if not context.is_active():
                return
            yield v1.WatchResponse(updates=updates, changes_through=self.token())

    def wake(self):
        with self.changed:
            self.changed.notify_all()


def write(*relationships, operation=v1.RelationshipUpdate.OPERATION_TOUCH):
    updates = [v1.RelationshipUpdate(operation=operation, relationship=each) for each in relationships]
    return v1.WriteRelationshipsRequest(updates=updates)


def check(resource, permission, subject):
    wanted = relationship(resource, permission, subject)
    return v1.CheckPermissionRequest(resource=wanted.resource, permission=permission, subject=wanted.subject)


def tell(error):
    print(type(error).__name__, error.code(), error.details())
    status = rpc_status.from_call(error)
    if status is not None:
        detail = v1.Relationship()
        print(status.message, status.details[0].Unpack(detail), detail.resource.object_type)


def everything(kind):
    return v1.ReadRelationshipsRequest(relationship_filter=v1.RelationshipFilter(resource_type=kind))


def failing(client, method, request):
    try:
        answer = getattr(client, method)(request)
        print(list(answer) if hasattr(answer, "__next__") else answer)
    except grpc.RpcError as error:
        tell(error)


def exercise(client):
    failing(client, "ReadSchema", v1.ReadSchemaRequest())
    failing(client, "WriteSchema", v1.WriteSchemaRequest(schema="nothing"))
    client.WriteSchema(v1.WriteSchemaRequest(schema="definition user {}"))
    print(client.ReadSchema(v1.ReadSchemaRequest()).schema_text)
    ann = relationship("document:1", "reader", "user:ann")
    print(client.WriteRelationships(write(ann, relationship("document:2", "writer", "user:bob"))).written_at.token)
    failing(client, "WriteRelationships", write(ann, operation=v1.RelationshipUpdate.OPERATION_CREATE))
    print(client.CheckPermission(check("document:1", "reader", "user:ann")).permissionship)
    answer, call = client.CheckPermission.with_call(check("document:1", "writer", "user:ann"))
    print(answer.permissionship, dict(call.trailing_metadata()))
    print([each.relationship.relation for each in client.ReadRelationships(everything("document"))])
    watch = client.Watch(v1.WatchRequest())
    watch.initial_metadata()
    print(len(next(watch).updates))
    client.WriteRelationships(write(ann, operation=v1.RelationshipUpdate.OPERATION_DELETE))
    print(next(watch).updates[0].operation)
    watch.cancel()
    try:
        next(watch)
    except grpc.RpcError as error:
        print(error.code(), watch.cancelled())
    pages = (
        v1.BulkImportRelationshipsRequest(
            relationships=[relationship(f"folder:{page}-{number}", "reader", "user:ann") for number in range(100)]
        )
        for page in range(20)
    )
    print(client.BulkImportRelationships(pages).num_loaded)
    exported = client.BulkExportRelationships(v1.BulkExportRelationshipsRequest(optional_limit=300))
    print([len(page.relationships) for page in exported])
    failing(client, "LookupResources", v1.LookupResourcesRequest())


async def exercise_asyncio(client):
    print((await client.WriteRelationships(write(relationship("group:1", "member", "user:cy")))).written_at.token)
    print((await client.CheckPermission(check("group:1", "member", "user:cy"))).permissionship)
    print([each.relationship.subject.object.object_id async for each in client.ReadRelationships(everything("group"))])

    async def pages():
        for number in range(3):
            yield v1.BulkImportRelationshipsRequest(relationships=[relationship(f"a:{number}", "b", "c:d")])

    print((await client.BulkImportRelationships(pages())).num_loaded)
    for method, request in (
        ("WriteSchema", v1.WriteSchemaRequest(schema="nothing")),
        ("LookupResources", v1.LookupResourcesRequest()),
    ):
        try:
            call = getattr(client, method)(request)
            await (call if hasattr(call, "__await__") else call.read())
        except grpc.aio.AioRpcError as error:
            print(error.code(), error.details())
    watch = client.Watch(v1.WatchRequest())
    print(len((await watch.read()).updates) > 0)
    watch.cancel()
    print(watch.cancelled())


def main():
    server = grpc.server(ThreadPoolExecutor(8))
    service = SpiceDB()
    permission_service_pb2_grpc.add_PermissionsServiceServicer_to_server(service, server)
    schema_service_pb2_grpc.add_SchemaServiceServicer_to_server(service, server)
    watch_service_pb2_grpc.add_WatchServiceServicer_to_server(service, server)
    experimental_service_pb2_grpc.add_ExperimentalServiceServicer_to_server(service, server)
    port = server.add_secure_port("127.0.0.1:0", grpc.local_server_credentials())
    server.start()
    target = f"127.0.0.1:{port}"
    exercise(v1.SyncClient(target, insecure_bearer_token_credentials("t0ken")))
    failing(
        v1.SyncClient(target, insecure_bearer_token_credentials("wrong")),
        "CheckPermission",
        check("document:1", "reader", "user:ann"),
    )
    plain = grpc.server(ThreadPoolExecutor(8))
    permission_service_pb2_grpc.add_PermissionsServiceServicer_to_server(service, plain)
    plain_port = plain.add_insecure_port("127.0.0.1:0")
    plain.start()
    intercepted = v1.InsecureClient(f"127.0.0.1:{plain_port}", "t0ken")
    print(intercepted.CheckPermission(check("document:2", "writer", "user:bob")).permissionship)
    print(len(list(intercepted.ReadRelationships(everything("document")))))
    plain.stop(None)

    async def asynchronous():
        await exercise_asyncio(v1.AsyncClient(target, insecure_bearer_token_credentials("t0ken")))

    asyncio.run(asynchronous())
    server.stop(None).wait()


main()
