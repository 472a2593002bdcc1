"""qdrant-client over gRPC, sync and asyncio, against a server of its protos: collections, points, searches, errors, and
what its interceptors add and read."""

import asyncio
import warnings
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy
from qdrant_client import AsyncQdrantClient, QdrantClient, models
from qdrant_client import grpc as pb
from qdrant_client.common.client_exceptions import ResourceExhaustedResponse
from qdrant_client.grpc import collections_service_pb2_grpc, points_service_pb2_grpc, qdrant_pb2_grpc

warnings.simplefilter("ignore")


class Qdrant(
    collections_service_pb2_grpc.CollectionsServicer,
    points_service_pb2_grpc.PointsServicer,
    qdrant_pb2_grpc.QdrantServicer,
):
    """Collections of points, searched one by one."""

    def __init__(self):
        self.collections = {}
        self.busy = 0

    def points(self, name, context):
        metadata = dict(context.invocation_metadata())
        if metadata.get("api-key") != "secret":
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "Must provide an API key")
        if self.busy:
            self.busy -= 1
            context.set_trailing_metadata((("retry-after", "7"),))
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "too many requests")
        if name not in self.collections:
            context.abort(grpc.StatusCode.NOT_FOUND, f"Not found: Collection `{name}` doesn't exist!")
        return self.collections[name]

    def HealthCheck(self, request, context):
        return pb.HealthCheckReply(title="qdrant", version="1.20.0")

    def Create(self, request, context):
        if request.collection_name in self.collections:
            context.abort(grpc.StatusCode.ALREADY_EXISTS, f"Collection `{request.collection_name}` already exists!")
        self.collections[request.collection_name] = {}
        return pb.CollectionOperationResponse(result=True, time=0.001)

    def CollectionExists(self, request, context):
        exists = request.collection_name in self.collections
        return pb.CollectionExistsResponse(result=pb.CollectionExists(exists=exists))

    def List(self, request, context):
        names = [pb.CollectionDescription(name=name) for name in self.collections]
        return pb.ListCollectionsResponse(collections=names)

    def Delete(self, request, context):
        if isinstance(request, pb.DeleteCollection):
            found = self.collections.pop(request.collection_name, None)
            return pb.CollectionOperationResponse(result=found is not None)
        points = self.points(request.collection_name, context)
        for point in request.points.points.ids:
            points.pop(point.num, None)
        return done()

    def Upsert(self, request, context):
        points = self.points(request.collection_name, context)
        for point in request.points:
            points[point.id.num] = point
        return done()

    def Count(self, request, context):
        count = len(self.points(request.collection_name, context))
        return pb.CountResponse(result=pb.CountResult(count=count))

    def Get(self, request, context):
        points = self.points(request.collection_name, context)
        found = [points[each.num] for each in request.ids if each.num in points]
        return pb.GetResponse(result=[retrieved(point) for point in found])

    def Scroll(self, request, context):
        points = self.points(request.collection_name, context)
        numbers = sorted(number for number in points if number >= request.offset.num)
        page, rest = numbers[: request.limit], numbers[request.limit :]
        following = pb.PointId(num=rest[0]) if rest else None
        return pb.ScrollResponse(result=[retrieved(points[each]) for each in page], next_page_offset=following)

    def Query(self, request, context):
        points = self.points(request.collection_name, context)
        wanted = numpy.array(request.query.nearest.dense.data)
        scored = sorted(((float(wanted @ vector(point)), point) for point in points.values()), key=lambda p: -p[0])
        hits = [pb.ScoredPoint(id=point.id, score=score, payload=point.payload) for score, point in scored]
        return pb.QueryResponse(result=hits[: request.limit])

    def SetPayload(self, request, context):
        points = self.points(request.collection_name, context)
        for each in request.points_selector.points.ids:
            for key, value in request.payload.items():
                points[each.num].payload[key].CopyFrom(value)
        return done()


def done():
    return pb.PointsOperationResponse(result=pb.UpdateResult(operation_id=1, status=pb.UpdateStatus.Completed))


def vector(point):
    return numpy.array(point.vectors.vector.dense.data or point.vectors.vector.data)


def retrieved(point):
    return pb.RetrievedPoint(id=point.id, payload=point.payload)


def failing(function, *arguments, **options):
    try:
        print(function(*arguments, **options))
    except grpc.RpcError as error:
        print(error.code(), error.details())
    except ResourceExhaustedResponse as error:
        print(type(error).__name__, error.retry_after_s)


VECTORS = models.VectorParams(size=4, distance=models.Distance.DOT)


def sync(service, options):
    client = QdrantClient(**options)
    print(client.create_collection("cities", vectors_config=VECTORS), client.collection_exists("cities"))
    failing(client.create_collection, "cities", vectors_config=VECTORS)
    failing(client.count, "nowhere")
    points = [
        models.PointStruct(id=number, vector=[number, 1, 0, 0.5], payload={"name": f"city {number}", "n": [number]})
        for number in range(100)
    ]
    print(client.upsert("cities", points).status, client.count("cities").count)
    client.upload_points("cities", points, batch_size=30, parallel=1)
    print([(hit.id, hit.score) for hit in client.query_points("cities", query=[1.0, 0, 0, 0], limit=3).points])
    print([(each.id, each.payload["name"]) for each in client.retrieve("cities", [5, 7, 1000])])
    client.set_payload("cities", {"seen": True}, points=[5])
    print(sorted(client.retrieve("cities", [5])[0].payload.items()))
    print(client.delete("cities", points_selector=[5, 6]).status, client.count("cities").count)
    seen, offset = 0, None
    while True:
        page, offset = client.scroll("cities", limit=40, offset=offset)
        seen += len(page)
        if offset is None:
            break
    print(seen, [each.name for each in client.get_collections().collections])
    service.busy = 1
    failing(client.count, "cities")
    big = numpy.arange(400_000, dtype=numpy.float32)
    print(client.upsert("cities", [models.PointStruct(id=1000, vector=big.tolist(), payload={})]).status)
    client.close()
    failing(QdrantClient(**{**options, "api_key": "wrong"}).count, "cities")


async def asynchronous(service, options):
    client = AsyncQdrantClient(**options)
    print(await client.create_collection("rivers", vectors_config=VECTORS))
    points = [models.PointStruct(id=number, vector=[0, number, 0, 0], payload={}) for number in range(50)]
    await client.upsert("rivers", points)
    counts = await asyncio.gather(*(client.count("rivers") for _ in range(20)))
    print({each.count for each in counts})
    hits = await client.query_points("rivers", query=[0, 1.0, 0, 0], limit=2)
    print([hit.id for hit in hits.points], (await client.scroll("rivers", limit=10))[1])
    for prepare, name in ((0, "nowhere"), (1, "rivers")):
        service.busy = prepare
        try:
            await client.count(name)
        except grpc.aio.AioRpcError as error:
            print(error.code(), error.details())
        except ResourceExhaustedResponse as error:
            print(type(error).__name__, error.retry_after_s)
    print(await client.delete_collection("rivers"), await client.collection_exists("rivers"))
    await client.close()


def main():
    service = Qdrant()
    server = grpc.server(ThreadPoolExecutor(4), options=[("grpc.max_receive_message_length", -1)])
    collections_service_pb2_grpc.add_CollectionsServicer_to_server(service, server)
    points_service_pb2_grpc.add_PointsServicer_to_server(service, server)
    qdrant_pb2_grpc.add_QdrantServicer_to_server(service, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    options = {"host": "127.0.0.1", "grpc_port": port, "prefer_grpc": True, "https": False, "timeout": 20}
    options |= {"api_key": "secret", "check_compatibility": False}
    sync(service, options)
    asyncio.run(asynchronous(service, options))
    server.stop(None).wait()


main()
