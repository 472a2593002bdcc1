"""google-cloud-pubsub, generated over google-api-core's gRPC helpers, against a server of its protos: topics in pages,
batches published with retries, a streaming pull that leases, acknowledges, and goes on over the next stream."""

import logging
import os
import queue
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import grpc

warnings.simplefilter("ignore")
logging.disable(logging.CRITICAL)

from google.api_core import exceptions, retry  # noqa: E402
from google.cloud import pubsub_v1  # noqa: E402
from google.protobuf import empty_pb2  # noqa: E402
from google.pubsub_v1 import types  # noqa: E402


class PubSub:
    """Topics and subscriptions. A message that was not acknowledged comes again on the next stream."""

    def __init__(self):
        self.topics = {}
        self.subscriptions = {}
        self.answers = []  # codes that the next calls of Publish are answered with
        self.acknowledged = queue.Queue()
        self.streams = 0
        self.numbers = 0

    def CreateTopic(self, request, context):
        if request.name in self.topics:
            context.abort(grpc.StatusCode.ALREADY_EXISTS, "Topic already exists")
        self.topics[request.name] = request
        return request

    def GetTopic(self, request, context):
        metadata = dict(context.invocation_metadata())
        print(metadata["x-goog-request-params"], metadata["x-goog-api-client"].partition("/")[0])
        if request.topic not in self.topics:
            context.abort(grpc.StatusCode.NOT_FOUND, "Resource not found")
        return self.topics[request.topic]

    def ListTopics(self, request, context):
        names = sorted(self.topics)
        start = int(request.page_token or 0)
        end = start + (request.page_size or 2)
        page = [self.topics[name] for name in names[start:end]]
        return types.ListTopicsResponse(topics=page, next_page_token=str(end) if end < len(names) else "")

    def DeleteTopic(self, request, context):
        del self.topics[request.topic]
        return empty_pb2.Empty()

    def Publish(self, request, context):
        if self.answers:
            context.abort(self.answers.pop(0), "not now")
        numbers = []
        for message in request.messages:
            self.numbers += 1
            numbers.append(str(self.numbers))
            message.message_id = numbers[-1]
            for topic, waiting in self.subscriptions.values():
                if topic == request.topic:
                    waiting.put(message)
        return types.PublishResponse(message_ids=numbers)

    def CreateSubscription(self, request, context):
        self.subscriptions[request.name] = request.topic, queue.Queue()
        return request

    def Pull(self, request, context):
        waiting = self.subscriptions[request.subscription][1]
        found = []
        while len(found) < request.max_messages and not waiting.empty():
            found.append(received(waiting.get()))
        return types.PullResponse(received_messages=found)

    def Acknowledge(self, request, context):
        for each in request.ack_ids:
            self.acknowledged.put(each)
        return empty_pb2.Empty()

    def ModifyAckDeadline(self, request, context):
        return empty_pb2.Empty()

    def StreamingPull(self, requests, context):
        first = next(requests)
        waiting = self.subscriptions[first.subscription][1]
        self.streams += 1
        context.add_callback(lambda: waiting.put(None))
        threading.Thread(target=self.listen, args=(requests,), daemon=True).start()
        for number in range(10_000):
            message = waiting.get()
            if not context.is_active():
                return
            yield types.StreamingPullResponse(received_messages=[received(message)])
            if self.streams == 1 and number == 9:
                context.abort(grpc.StatusCode.UNAVAILABLE, "the server goes away")

    def listen(self, requests):
        try:
            for request in requests:
                for each in request.ack_ids:
                    self.acknowledged.put(each)
        except grpc.RpcError:
            pass


def received(message):
    return types.ReceivedMessage(ack_id=f"ack {message.message_id}", message=message)


def handlers(service):
    def unary(name, request, response):
        serialize = response.serialize if hasattr(response, "serialize") else response.SerializeToString
        return grpc.unary_unary_rpc_method_handler(getattr(service, name), request.deserialize, serialize)

    yield grpc.method_handlers_generic_handler(
        "google.pubsub.v1.Publisher",
        {
            "CreateTopic": unary("CreateTopic", types.Topic, types.Topic),
            "GetTopic": unary("GetTopic", types.GetTopicRequest, types.Topic),
            "ListTopics": unary("ListTopics", types.ListTopicsRequest, types.ListTopicsResponse),
            "DeleteTopic": unary("DeleteTopic", types.DeleteTopicRequest, empty_pb2.Empty),
            "Publish": unary("Publish", types.PublishRequest, types.PublishResponse),
        },
    )
    stream = grpc.stream_stream_rpc_method_handler(
        service.StreamingPull, types.StreamingPullRequest.deserialize, types.StreamingPullResponse.serialize
    )
    yield grpc.method_handlers_generic_handler(
        "google.pubsub.v1.Subscriber",
        {
            "CreateSubscription": unary("CreateSubscription", types.Subscription, types.Subscription),
            "Pull": unary("Pull", types.PullRequest, types.PullResponse),
            "Acknowledge": unary("Acknowledge", types.AcknowledgeRequest, empty_pb2.Empty),
            "ModifyAckDeadline": unary("ModifyAckDeadline", types.ModifyAckDeadlineRequest, empty_pb2.Empty),
            "StreamingPull": stream,
        },
    )


def failing(function, *arguments, **options):
    try:
        print(function(*arguments, **options))
    except exceptions.GoogleAPICallError as error:
        print(type(error).__name__, error.grpc_status_code, error.message)
    except exceptions.RetryError as error:
        print(type(error).__name__)


def topics(publisher):
    names = [publisher.topic_path("project", f"topic-{number}") for number in range(5)]
    for name in names:
        publisher.create_topic(name=name)
    failing(publisher.create_topic, name=names[0])
    print(publisher.get_topic(topic=names[1]).name)
    failing(publisher.get_topic, topic="projects/project/topics/none")
    print([topic.name[-1] for topic in publisher.list_topics(project="projects/project")])
    publisher.delete_topic(topic=names[4])
    print(len(list(publisher.list_topics(project="projects/project", timeout=10))))
    return names


def published(service, publisher, topic):
    service.answers = [grpc.StatusCode.UNAVAILABLE]
    futures = [publisher.publish(topic, b"%d" % number, kind="test") for number in range(30)]
    print(sorted(int(future.result(timeout=20)) for future in futures))
    service.answers = [grpc.StatusCode.PERMISSION_DENIED]
    failing(publisher.publish(topic, b"refused").result, timeout=20)
    service.answers = [grpc.StatusCode.UNAVAILABLE] * 1000
    failing(publisher.publish(topic, b"late", retry=retry.Retry(timeout=0.3, initial=0.01)).result, timeout=20)
    service.answers = []


def pulled(service, subscriber, publisher, topic):
    subscription = subscriber.subscription_path("project", "streamed")
    subscriber.create_subscription(name=subscription, topic=topic)
    print(subscriber.pull(subscription=subscription, max_messages=5).received_messages)
    seen, enough = set(), threading.Event()

    def heard(message):
        seen.add(message.data)
        message.ack()
        if len(seen) == 30:
            enough.set()

    future = subscriber.subscribe(subscription, heard)
    for number in range(30):
        publisher.publish(topic, b"%d" % number)
    print(enough.wait(30), len(seen), service.streams > 1)
    acknowledged = {service.acknowledged.get(timeout=20) for _ in range(30)}
    print(len(acknowledged))
    future.cancel()
    print(future.result(timeout=20))


def main():
    service = PubSub()
    server = grpc.server(ThreadPoolExecutor(8), handlers=tuple(handlers(service)))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    os.environ["PUBSUB_EMULATOR_HOST"] = f"127.0.0.1:{port}"
    with pubsub_v1.SubscriberClient() as subscriber:
        publisher = pubsub_v1.PublisherClient()
        names = topics(publisher)
        published(service, publisher, names[0])
        pulled(service, subscriber, publisher, names[1])
        publisher.stop()
        publisher.transport.close()
    server.stop(None).wait()


main()
