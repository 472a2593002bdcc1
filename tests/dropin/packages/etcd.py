"""aetcd, a client of etcd on grpc.aio, against a server: keys, leases, watches, transactions, errors."""

import asyncio
import io
from bisect import bisect_left, insort

import aetcd
import grpc
from aetcd.rpc import kv_pb2, rpc_pb2_grpc
from aetcd.rpc import rpc_pb2 as pb2


class Store(rpc_pb2_grpc.KVServicer, rpc_pb2_grpc.LeaseServicer, rpc_pb2_grpc.WatchServicer):
    """Keys in order, their history since the start, and who watches them."""

    def __init__(self):
        self.revision = 1
        self.keys = []
        self.values = {}
        self.history = []  # of events, in the order of their revisions
        self.compacted = 0
        self.leases = {}
        self.watches = {}  # by id: a range, filters and a queue

    def header(self):
        return pb2.ResponseHeader(cluster_id=7, member_id=8, revision=self.revision, raft_term=2)

    def found(self, key, range_end):
        if not range_end:
            return [key] if key in self.values else []
        start = bisect_left(self.keys, key)
        end = len(self.keys) if range_end == b"\0" else bisect_left(self.keys, range_end)
        return self.keys[start:end]

    def tell(self, event):
        self.history.append(event)
        for key, range_end, filters, queue in self.watches.values():
            if covers(key, range_end, event.kv.key) and event.type not in filters:
                queue.put_nowait(event)

    def put(self, request):
        self.revision += 1
        before = self.values.get(request.key)
        if before is None:
            insort(self.keys, request.key)
        value = kv_pb2.KeyValue(
            key=request.key,
            value=request.value,
            create_revision=self.revision if before is None else before.create_revision,
            mod_revision=self.revision,
            version=1 if before is None else before.version + 1,
            lease=request.lease,
        )
        self.values[request.key] = value
        self.tell(kv_pb2.Event(type=kv_pb2.Event.PUT, kv=value, prev_kv=before))
        return pb2.PutResponse(header=self.header(), prev_kv=before if request.prev_kv else None)

    def delete(self, request):
        keys = self.found(request.key, request.range_end)
        self.revision += bool(keys)
        gone = [self.values.pop(key) for key in keys]
        for value in gone:
            self.keys.remove(value.key)
            now = kv_pb2.KeyValue(key=value.key, mod_revision=self.revision)
            self.tell(kv_pb2.Event(type=kv_pb2.Event.DELETE, kv=now, prev_kv=value))
        before = gone if request.prev_kv else ()
        return pb2.DeleteRangeResponse(header=self.header(), deleted=len(gone), prev_kvs=before)

    def get(self, request):
        values = [self.values[key] for key in self.found(request.key, request.range_end)]
        if request.sort_order == pb2.RangeRequest.DESCEND:
            values.reverse()
        return pb2.RangeResponse(header=self.header(), kvs=values, count=len(values))

    def holds(self, compare):
        value = self.values.get(compare.key, kv_pb2.KeyValue())
        actual, wanted = {
            pb2.Compare.VERSION: (value.version, compare.version),
            pb2.Compare.CREATE: (value.create_revision, compare.create_revision),
            pb2.Compare.MOD: (value.mod_revision, compare.mod_revision),
            pb2.Compare.VALUE: (value.value, compare.value),
        }[compare.target]
        return {
            pb2.Compare.EQUAL: actual == wanted,
            pb2.Compare.GREATER: actual > wanted,
            pb2.Compare.LESS: actual < wanted,
            pb2.Compare.NOT_EQUAL: actual != wanted,
        }[compare.result]

    async def Range(self, request, context):
        if not request.key:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "etcdserver: key is not provided")
        return self.get(request)

    async def Put(self, request, context):
        if request.lease and request.lease not in self.leases:
            await context.abort(grpc.StatusCode.NOT_FOUND, "etcdserver: requested lease not found")
        return self.put(request)

    async def DeleteRange(self, request, context):
        return self.delete(request)

    async def Txn(self, request, context):
        succeeded = all(map(self.holds, request.compare))
        responses = []
        for operation in request.success if succeeded else request.failure:
            kind = operation.WhichOneof("request")
            if kind == "request_put":
                responses.append(pb2.ResponseOp(response_put=self.put(operation.request_put)))
            elif kind == "request_delete_range":
                deleted = self.delete(operation.request_delete_range)
                responses.append(pb2.ResponseOp(response_delete_range=deleted))
            else:
                responses.append(pb2.ResponseOp(response_range=self.get(operation.request_range)))
        return pb2.TxnResponse(header=self.header(), succeeded=succeeded, responses=responses)

    async def Compact(self, request, context):
        self.compacted = request.revision
        return pb2.CompactionResponse(header=self.header())

    async def LeaseGrant(self, request, context):
        if request.ID in self.leases:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "etcdserver: lease already exists")
        number = request.ID or 1000 + len(self.leases)
        self.leases[number] = request.TTL
        return pb2.LeaseGrantResponse(header=self.header(), ID=number, TTL=request.TTL)

    async def LeaseRevoke(self, request, context):
        del self.leases[request.ID]
        for key in [key for key, value in self.values.items() if value.lease == request.ID]:
            self.delete(pb2.DeleteRangeRequest(key=key))
        return pb2.LeaseRevokeResponse(header=self.header())

    async def LeaseTimeToLive(self, request, context):
        keys = [key for key, value in self.values.items() if value.lease == request.ID] if request.keys else ()
        ttl = self.leases.get(request.ID, -1)
        return pb2.LeaseTimeToLiveResponse(header=self.header(), ID=request.ID, TTL=ttl, grantedTTL=ttl, keys=keys)

    async def LeaseKeepAlive(self, requests, context):
        async for request in requests:
            ttl = self.leases.get(request.ID, 0)
            yield pb2.LeaseKeepAliveResponse(header=self.header(), ID=request.ID, TTL=ttl)

    async def Watch(self, requests, context):
        """Requests come while responses go: two tasks, of which one writes."""
        out = asyncio.Queue()
        tasks = [asyncio.ensure_future(self.obey(requests, out))]
        try:
            while (response := await out.get()) is not None:
                await context.write(response)
                if response.watch_id in self.watches and response.created:
                    queue = self.watches[response.watch_id][3]
                    tasks.append(asyncio.ensure_future(self.follow(response.watch_id, queue, out)))
        finally:
            for task in tasks:
                task.cancel()

    async def obey(self, requests, out):
        async for request in requests:
            if request.HasField("cancel_request"):
                number = request.cancel_request.watch_id
                self.watches.pop(number, None)
                out.put_nowait(pb2.WatchResponse(header=self.header(), watch_id=number, canceled=True))
                continue
            wanted = request.create_request
            number = wanted.watch_id or len(self.watches) + 1
            if 0 < wanted.start_revision <= self.compacted:
                out.put_nowait(pb2.WatchResponse(header=self.header(), watch_id=number, created=True))
                answer = pb2.WatchResponse(header=self.header(), watch_id=number, canceled=True)
                answer.compact_revision = self.compacted
                out.put_nowait(answer)
                continue
            filters = {{pb2.WatchCreateRequest.NOPUT: 0, pb2.WatchCreateRequest.NODELETE: 1}[f] for f in wanted.filters}
            queue = asyncio.Queue()
            for event in self.history if wanted.start_revision else ():
                past = event.kv.mod_revision < wanted.start_revision
                if not past and event.type not in filters and covers(wanted.key, wanted.range_end, event.kv.key):
                    queue.put_nowait(event)
            self.watches[number] = wanted.key, wanted.range_end, filters, queue
            out.put_nowait(pb2.WatchResponse(header=self.header(), watch_id=number, created=True))
        out.put_nowait(None)

    async def watched(self, wanted):
        """Returns once somebody watches a key."""
        while not any(key == wanted for key, *_ in self.watches.values()):
            await asyncio.sleep(0.001)

    async def follow(self, number, queue, out):
        while True:
            event = await queue.get()
            out.put_nowait(pb2.WatchResponse(header=self.header(), watch_id=number, events=[event]))


def covers(key, range_end, other):
    return other == key if not range_end else key <= other and (range_end == b"\0" or other < range_end)


class Maintenance(rpc_pb2_grpc.MaintenanceServicer):
    async def Status(self, request, context):
        return pb2.StatusResponse(version="3.6.0", dbSize=4096, leader=8, raftIndex=9, raftTerm=2)

    async def Snapshot(self, request, context):
        for remaining in (2, 1, 0):
            yield pb2.SnapshotResponse(remaining_bytes=remaining, blob=bytes([remaining]) * 50_000)


class Cluster(rpc_pb2_grpc.ClusterServicer):
    async def MemberList(self, request, context):
        return pb2.MemberListResponse(members=[pb2.Member(ID=8, name="one", peerURLs=["http://127.0.0.1:2380"])])


class Auth(rpc_pb2_grpc.AuthServicer):
    async def Authenticate(self, request, context):
        if request.password != "secret":
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "etcdserver: authentication failed")
        return pb2.AuthenticateResponse(token=f"token of {request.name}")


class Tokens(grpc.aio.ServerInterceptor):
    """What tokens came with calls."""

    def __init__(self):
        self.seen = set()

    async def intercept_service(self, continuation, details):
        self.seen.add(dict(details.invocation_metadata).get("token"))
        return await continuation(details)


async def serve(store, tokens, port=0):
    server = grpc.aio.server(interceptors=[tokens])
    rpc_pb2_grpc.add_KVServicer_to_server(store, server)
    rpc_pb2_grpc.add_LeaseServicer_to_server(store, server)
    rpc_pb2_grpc.add_WatchServicer_to_server(store, server)
    rpc_pb2_grpc.add_MaintenanceServicer_to_server(Maintenance(), server)
    rpc_pb2_grpc.add_ClusterServicer_to_server(Cluster(), server)
    rpc_pb2_grpc.add_AuthServicer_to_server(Auth(), server)
    port = server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    return server, port


async def failed(awaitable):
    try:
        await awaitable
    except aetcd.ConnectionFailedError:
        print("ConnectionFailedError")  # each stack has its own words for how
    except Exception as error:
        print(type(error).__name__, error)


async def keys(client):
    print(await client.get(b"nothing"))
    put = await client.put(b"fruit/apple", b"red")
    print(put.header.revision, put.prev_kv)
    print((await client.put(b"fruit/apple", b"green", prev_kv=True)).prev_kv.value)
    await client.put(b"fruit/pear", b"yellow")
    await client.put(b"tool/saw", b"x" * 100_000)
    apple = await client.get(b"fruit/apple")
    print(apple.value, apple.version, apple.create_revision, apple.mod_revision)
    print([(each.key, each.value) for each in await client.get_prefix(b"fruit/", sort_order="descend")])
    print(len((await client.get_all()).kvs), len((await client.get(b"tool/saw")).value))
    print(await client.replace(b"fruit/apple", b"green", b"blue"), await client.replace(b"fruit/apple", b"red", b"-"))
    t = client.transactions
    print(
        await client.transaction(
            compare=[t.version(b"fruit/apple") > 2, t.value(b"fruit/pear") == b"yellow"],
            success=[t.put(b"fruit/fig", b"violet"), t.delete(b"fruit/pear")],
            failure=[t.get(b"fruit/pear")],
        )
        and (await client.get(b"fruit/fig")).value
    )
    print((await client.delete(b"fruit/fig", prev_kv=True)).prev_kv.value, await client.delete(b"fruit/fig"))
    print((await client.delete_prefix(b"tool/")).deleted)
    await failed(client.get(b""))
    await failed(client.put(b"with-lease", b"", lease=5))


async def watches(client):
    watch = await client.watch_prefix(b"watched/", prev_kv=True)
    await client.put(b"watched/a", b"1")
    await client.put(b"elsewhere", b"1")
    await client.put(b"watched/a", b"2")
    await client.delete(b"watched/a")
    seen = 0
    async for event in watch:
        print(event.kind, event.kv.key, event.kv.value, event.prev_kv and event.prev_kv.value)
        seen += 1
        if seen == 3:
            await watch.cancel()
    revision = (await client.get(b"elsewhere")).mod_revision
    past = await client.watch(b"watched/a", start_revision=revision, kind=aetcd.rtypes.EventKind.DELETE)
    async for event in past:
        print(event.kind, event.kv.key)
        break
    await past.cancel()
    waiting = asyncio.ensure_future(client.watch_once(b"once", timeout=20))
    await client.store.watched(b"once")
    await client.put(b"once", b"now")
    print((await waiting).kv.value)
    await failed(client.watch_once(b"never", timeout=0.05))
    await client.compact(revision)
    compacted = await client.watch(b"watched/a", start_revision=1)
    await failed(anext(aiter(compacted)))


async def leases(client):
    lease = await client.lease(30, lease_id=77)
    await client.put(b"leased", b"", lease=lease)
    print(lease.id, (await lease.refresh()).TTL, (await client.get_lease_info(77)).keys)
    await failed(client.lease(30, lease_id=77))
    await lease.revoke()
    print(await client.get(b"leased"))
    async with client.lock(b"lock", ttl=20) as lock:
        print(await lock.is_acquired())
        other = client.lock(b"lock", ttl=20)
        waiting = asyncio.ensure_future(other.acquire())
        await client.store.watched(b"lock")
    print(await waiting, await lock.is_acquired(), await other.release())


async def main():
    store, tokens = Store(), Tokens()
    server, port = await serve(store, tokens)
    async with aetcd.Client("127.0.0.1", port, username="ann", password="secret", timeout=20) as client:
        client.store = store
        await keys(client)
        await watches(client)
        await leases(client)
        status = await client.status()
        print(status.version, status.db_size, [member.name async for member in client.members()])
        file = io.BytesIO()
        await client.snapshot(file)
        print(len(file.getvalue()))
        print(sorted(tokens.seen, key=str))
        await failed(aetcd.Client("127.0.0.1", port, username="ann", password="wrong").connect())

        lost = await client.watch(b"kept")
        await server.stop(None)
        await failed(anext(aiter(lost)))
        await failed(client.get(b"fruit/apple"))
        server, _ = await serve(store, tokens, port)
        while True:
            try:
                print((await client.get(b"fruit/apple")).value)
                break
            except aetcd.ConnectionFailedError:
                await asyncio.sleep(0.05)
        again = await client.watch(b"kept")
        await client.put(b"kept", b"again")
        print((await anext(aiter(again))).kv.value)
    await server.stop(None)


asyncio.run(main())
