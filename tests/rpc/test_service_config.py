"""Service configs: what is read, and what is said of those that are wrong."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire.errors import ConfigurationError
from wire.rpc.service_config import (
    HedgingPolicy,
    MethodConfig,
    RetryPolicy,
    RetryThrottling,
    ServiceConfig,
    parse_service_config,
)
from wire.status import StatusCode

RETRY = {
    "maxAttempts": 4,
    "initialBackoff": "0.1s",
    "maxBackoff": "1s",
    "backoffMultiplier": 2,
    "retryableStatusCodes": ["UNAVAILABLE", "resource_exhausted", 10],
}


def retry(**changes: Any) -> dict[str, Any]:
    policy = {**RETRY, **changes}
    return {
        "methodConfig": [
            {"name": [{"service": "s"}], "retryPolicy": {k: v for k, v in policy.items() if v is not None}}
        ]
    }


def test_everything_is_read() -> None:
    text = json.dumps(
        {
            "loadBalancingConfig": [{"grpclb": {}}, {"round_robin": {}}, {"pick_first": {}}],
            "methodConfig": [
                {
                    "name": [{"service": "pkg.Service", "method": "Method"}, {"service": "pkg.Other"}],
                    "waitForReady": True,
                    "timeout": "1.500s",
                    "maxRequestMessageBytes": "1024",
                    "maxResponseMessageBytes": 2048,
                    "retryPolicy": RETRY,
                },
                {
                    "name": [{}],
                    "hedgingPolicy": {"maxAttempts": 3, "hedgingDelay": "0.5s", "nonFatalStatusCodes": ["INTERNAL"]},
                },
            ],
            "retryThrottling": {"maxTokens": 10, "tokenRatio": 0.1},
            "healthCheckConfig": {"serviceName": "pkg.Service"},
        }
    )
    policy = RetryPolicy(
        4, 0.1, 1.0, 2.0, frozenset({StatusCode.UNAVAILABLE, StatusCode.RESOURCE_EXHAUSTED, StatusCode.ABORTED})
    )
    first = MethodConfig(True, 1.5, 1024, 2048, policy)
    default = MethodConfig(hedging=HedgingPolicy(3, 0.5, frozenset({StatusCode.INTERNAL})))
    config = parse_service_config(text)
    assert config == ServiceConfig(
        {("pkg.Service", "Method"): first, ("pkg.Other", ""): first, ("", ""): default},
        "round_robin",
        RetryThrottling(10, 0.1),
        "pkg.Service",
    )
    assert config.method("/pkg.Service/Method") == first
    assert config.method("/pkg.Other/Any") == first
    assert config.method("/pkg.Service/Other") == default
    assert config.method("/x.Y/Z") == default


def test_an_empty_one_says_nothing() -> None:
    assert parse_service_config("{}") == ServiceConfig()
    assert parse_service_config({}).method("/a.B/C") is None


def test_more_attempts_than_gRPC_allows_are_five() -> None:
    policy = parse_service_config(retry(maxAttempts=100)).methods["s", ""].retry
    assert policy is not None
    assert policy.max_attempts == 5


def test_the_older_name_of_the_policy() -> None:
    assert parse_service_config({"loadBalancingPolicy": "ROUND_ROBIN"}).load_balancing == "round_robin"


def test_fields_that_are_not_known_are_skipped_and_listed() -> None:
    config = parse_service_config(
        {"methodConfig": [{"name": [{"service": "s", "x": 1}], "retyPolicy": {}}], "connectionScaling": {}}
    )
    assert set(config.skipped) == {"methodConfig[0].name[0].x", "methodConfig[0].retyPolicy", "connectionScaling"}


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("{", "the service config is not JSON"),
        ("[]", "it is [], but must be an object"),
        ({"methodConfig": {}}, "methodConfig is {}, but must be a list"),
        ({"methodConfig": [3]}, "methodConfig[0] is 3, but must be an object"),
        ({"methodConfig": [{"name": [{"method": "M"}]}]}, "methodConfig[0].name[0] has a method, but no service"),
        (
            {"methodConfig": [{"name": [{"service": "s"}, {"service": "s"}]}]},
            "methodConfig[0].name[1] is s, which was configured before",
        ),
        (
            {"methodConfig": [{"waitForReady": "yes"}]},
            'methodConfig[0].waitForReady is "yes", but must be true or false',
        ),
        ({"methodConfig": [{"timeout": "1m"}]}, 'methodConfig[0].timeout is "1m", but must be seconds with an "s"'),
        ({"methodConfig": [{"timeout": "-1s"}]}, 'methodConfig[0].timeout is "-1s"'),
        ({"methodConfig": [{"timeout": 1}]}, "methodConfig[0].timeout is 1, but must be seconds"),
        (
            {"methodConfig": [{"maxRequestMessageBytes": -1}]},
            "methodConfig[0].maxRequestMessageBytes is -1, but must be at least 0",
        ),
        ({"methodConfig": [{"maxRequestMessageBytes": 1.5}]}, "is 1.5, but must be a whole number"),
        (retry(maxAttempts=1), "methodConfig[0].retryPolicy.maxAttempts is 1, but must be at least 2"),
        (retry(maxAttempts=None), "methodConfig[0].retryPolicy has no maxAttempts, but needs one"),
        (retry(maxAttempts=True), "maxAttempts is true, but must be a whole number"),
        (retry(initialBackoff="0s"), "initialBackoff is 0, but must be more"),
        (retry(maxBackoff=None), "has no maxBackoff"),
        (retry(backoffMultiplier=0), "backoffMultiplier is 0, but must be more than 0"),
        (retry(backoffMultiplier="x"), 'backoffMultiplier is "x", but must be a number'),
        (retry(retryableStatusCodes=[]), "methodConfig[0].retryPolicy has no retryableStatusCodes"),
        (retry(retryableStatusCodes=["BROKEN"]), 'retryableStatusCodes[0] is "BROKEN", but must be a status code'),
        (retry(retryableStatusCodes=[99]), "retryableStatusCodes[0] is 99"),
        (
            {"methodConfig": [{"retryPolicy": RETRY, "hedgingPolicy": {"maxAttempts": 2}}]},
            "methodConfig[0] has a retryPolicy and a hedgingPolicy",
        ),
        ({"retryThrottling": {"maxTokens": 1001, "tokenRatio": 1}}, "retryThrottling.maxTokens is 1001"),
        ({"retryThrottling": {"maxTokens": 10}}, "retryThrottling has no tokenRatio"),
        (
            {"loadBalancingConfig": [{"grpclb": {}}]},
            "loadBalancingConfig has none of pick_first, round_robin, but grpclb",
        ),
        ({"loadBalancingConfig": [{}]}, "loadBalancingConfig[0] must have one field"),
        ({"loadBalancingPolicy": "best"}, 'loadBalancingPolicy is "best"'),
        ({"healthCheckConfig": {"serviceName": 1}}, "healthCheckConfig.serviceName is 1, but must be text"),
    ],
)
def test_what_is_wrong_is_named(source: Any, said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_service_config(source)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


_KEYS = [
    "methodConfig", "name", "service", "method", "timeout", "retryPolicy", "maxAttempts", "retryThrottling",
    "loadBalancingConfig", "round_robin", "healthCheckConfig", "initialBackoff", "retryableStatusCodes",
]  # fmt: skip
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2**33) | st.floats() | st.sampled_from(["", "1s", "x", "UNAVAILABLE"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_KEYS), inner, max_size=4),
    max_leaves=20,
)


@given(_JSON)
def test_any_json_is_read_or_refused(source: Any) -> None:
    with suppress(ConfigurationError):
        parse_service_config(source)
