"""A service config: how a service's clients should call it, as JSON (gRPC's service_config.md; grpc.service_config's
proto in its JSON form; gRPC proposals A2, A6, A17, A21).

In comes JSON text or what `json.loads` makes of it, out come frozen objects. What is wrong raises `ConfigurationError`,
which names the field: `methodConfig[0].retryPolicy.maxAttempts is 1, but must be at least 2`. Fields that are not known
here are skipped, as gRPC asks, and listed. Imports only `errors`, `config` and `status`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn, TypeVar, get_args

from wire.config import LoadBalancing
from wire.errors import ConfigurationError
from wire.status import StatusCode

T = TypeVar("T")

MAX_ATTEMPTS = 5  # A6: larger values are taken as this
_DURATION = re.compile(r"(\d{1,12})(?:\.(\d{1,9}))?s")
_MAX_TOKENS = 1000  # A6


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """When a call that failed is made once more (A6). Seconds."""

    max_attempts: int
    initial_backoff_s: float
    max_backoff_s: float
    backoff_multiplier: float
    codes: frozenset[StatusCode]
    """Statuses that are retried."""


@dataclass(frozen=True, slots=True)
class HedgingPolicy:
    """When a call is made several times at once (A6)."""

    max_attempts: int
    delay_s: float
    """Between the attempts."""
    codes: frozenset[StatusCode]
    """Statuses that do not end the call while other attempts go on."""


@dataclass(frozen=True, slots=True)
class MethodConfig:
    """What calls of one method are like. None: as the channel says."""

    wait_for_ready: bool | None = None
    timeout_s: float | None = None
    """The most; a call may ask for less."""
    max_request_bytes: int | None = None
    max_response_bytes: int | None = None
    retry: RetryPolicy | None = None
    hedging: HedgingPolicy | None = None


@dataclass(frozen=True, slots=True)
class RetryThrottling:
    """Retries stop while too many calls fail: each failure takes one of `max_tokens`, each success gives `token_ratio`
    back, and half of them must be there."""

    max_tokens: float
    token_ratio: float


@dataclass(frozen=True, slots=True)
class ServiceConfig:
    """See the module's text. `methods`: by (service, method); an empty method is all of a service's, an empty service
    all others."""

    methods: Mapping[tuple[str, str], MethodConfig] = field(default_factory=dict)
    load_balancing: LoadBalancing | None = None
    throttling: RetryThrottling | None = None
    health_check_service: str | None = None
    skipped: tuple[str, ...] = ()
    """Fields that are not known here."""

    def method(self, path: str) -> MethodConfig | None:
        """What is said of "/package.Service/Method": the most specific entry alone counts."""
        service, _, method = path.removeprefix("/").rpartition("/")
        for name in ((service, method), (service, ""), ("", "")):
            if name in self.methods:
                return self.methods[name]
        return None


def parse_service_config(source: str | Mapping[str, Any]) -> ServiceConfig:
    """Raises `ConfigurationError`."""
    if isinstance(source, str):
        try:
            source = json.loads(source)
        except ValueError as error:
            raise ConfigurationError(f"the service config is not JSON: {error}") from None
    top = _Object(source, "", [])
    methods = _methods(top)
    load_balancing = _load_balancing(top)
    throttling = _throttling(top.object("retryThrottling"))
    health = top.object("healthCheckConfig")
    health_service = None if health is None else health.text("serviceName")
    if health is not None:
        health.end()
    top.end()
    return ServiceConfig(methods, load_balancing, throttling, health_service, tuple(top.skipped))


def _methods(top: _Object) -> dict[tuple[str, str], MethodConfig]:
    methods: dict[tuple[str, str], MethodConfig] = {}
    for entry in top.objects("methodConfig"):
        names = list(entry.objects("name"))
        config = MethodConfig(
            wait_for_ready=entry.boolean("waitForReady"),
            timeout_s=entry.duration("timeout"),
            max_request_bytes=entry.integer("maxRequestMessageBytes", 0, 2**32 - 1),
            max_response_bytes=entry.integer("maxResponseMessageBytes", 0, 2**32 - 1),
            retry=_retry(entry.object("retryPolicy")),
            hedging=_hedging(entry.object("hedgingPolicy")),
        )
        if config.retry is not None and config.hedging is not None:
            entry.wrong("has a retryPolicy and a hedgingPolicy, but may have only one of them")
        entry.end()
        for name in names:
            service, method = name.text("service") or "", name.text("method") or ""
            name.end()
            if method and not service:
                name.wrong("has a method, but no service")
            if (service, method) in methods:
                shown = "/".join(filter(None, (service, method))) or "the default"
                name.wrong(f"is {shown}, which was configured before")
            methods[service, method] = config
    return methods


def _retry(policy: _Object | None) -> RetryPolicy | None:
    if policy is None:
        return None
    codes = policy.codes("retryableStatusCodes")
    if not codes:
        policy.wrong("has no retryableStatusCodes, but needs at least one")
    made = RetryPolicy(
        _attempts(policy),
        policy.needed("initialBackoff", policy.duration("initialBackoff", positive=True)),
        policy.needed("maxBackoff", policy.duration("maxBackoff", positive=True)),
        policy.needed("backoffMultiplier", policy.number("backoffMultiplier", 0, 1e9)),
        codes,
    )
    policy.end()
    return made


def _hedging(policy: _Object | None) -> HedgingPolicy | None:
    if policy is None:
        return None
    made = HedgingPolicy(_attempts(policy), policy.duration("hedgingDelay") or 0.0, policy.codes("nonFatalStatusCodes"))
    policy.end()
    return made


def _attempts(policy: _Object) -> int:
    attempts = policy.integer("maxAttempts", 2, 2**32 - 1)
    return min(policy.needed("maxAttempts", attempts), MAX_ATTEMPTS)


def _throttling(throttling: _Object | None) -> RetryThrottling | None:
    if throttling is None:
        return None
    made = RetryThrottling(
        throttling.needed("maxTokens", throttling.number("maxTokens", 0, _MAX_TOKENS)),
        throttling.needed("tokenRatio", throttling.number("tokenRatio", 0, 1e9)),
    )
    throttling.end()
    return made


def _load_balancing(top: _Object) -> LoadBalancing | None:
    """The first policy that is there of the list (A24); else that of the older field."""
    known: dict[str, LoadBalancing] = {name: name for name in get_args(LoadBalancing)}
    names = []
    for entry in top.objects("loadBalancingConfig"):
        if len(entry.values) != 1:
            entry.wrong("must have one field, the name of a policy")
        (name,) = entry.values
        if name in known:
            top.text("loadBalancingPolicy")
            return known[name]
        names.append(name)
    if names:
        top.wrong_field("loadBalancingConfig", f"has none of {', '.join(known)}, but {', '.join(names)}")
    older = top.text("loadBalancingPolicy")
    if older is None:
        return None
    if older.lower() not in known:
        top.wrong_field("loadBalancingPolicy", f'is "{older}", but must be one of {", ".join(known)}')
    return known[older.lower()]


class _Object:
    """One JSON object and where it stands; its fields are taken one by one, and `end` lists what is left."""

    def __init__(self, values: Any, path: str, skipped: list[str]) -> None:
        self.path = path
        self.skipped = skipped
        self._taken: set[str] = set()
        if not isinstance(values, Mapping):
            self.values: Mapping[str, Any] = {}
            self.wrong(f"is {_shown(values)}, but must be an object")
        self.values = values

    def wrong(self, text: str) -> NoReturn:
        raise ConfigurationError(f"the service config is wrong: {self.path or 'it'} {text}")

    def wrong_field(self, name: str, text: str) -> NoReturn:
        raise ConfigurationError(f"the service config is wrong: {self._at(name)} {text}")

    def end(self) -> None:
        self.skipped += [self._at(name) for name in self.values if name not in self._taken]

    def needed(self, name: str, value: T | None) -> T:
        if value is None:
            self.wrong(f"has no {name}, but needs one")
        return value

    def object(self, name: str) -> _Object | None:
        value = self._take(name)
        return None if value is None else _Object(value, self._at(name), self.skipped)

    def objects(self, name: str) -> Iterator[_Object]:
        for number, value in enumerate(self._list(name)):
            yield _Object(value, f"{self._at(name)}[{number}]", self.skipped)

    def text(self, name: str) -> str | None:
        value = self._take(name)
        if value is not None and not isinstance(value, str):
            self.wrong_field(name, f"is {_shown(value)}, but must be text")
        return value

    def boolean(self, name: str) -> bool | None:
        value = self._take(name)
        if value is not None and not isinstance(value, bool):
            self.wrong_field(name, f"is {_shown(value)}, but must be true or false")
        return value

    def integer(self, name: str, least: int, most: int) -> int | None:
        """A number, or the digits of one: so JSON has 64-bit integers of protobuf."""
        value = self._take(name)
        if value is None:
            return None
        if isinstance(value, str) and value.isascii() and value.isdigit():
            value = int(value)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            self.wrong_field(name, f"is {_shown(value)}, but must be a whole number")
        if value < least:
            self.wrong_field(name, f"is {value}, but must be at least {least}")
        if value > most:
            self.wrong_field(name, f"is {value}, but must be at most {most}")
        return value

    def number(self, name: str, above: float, most: float) -> float | None:
        value = self._take(name)
        if value is None:
            return None
        try:
            number = float(value) if isinstance(value, (int, float, str)) and not isinstance(value, bool) else None
        except ValueError:
            number = None
        if number is None:
            self.wrong_field(name, f"is {_shown(value)}, but must be a number")
        if not above < number <= most:
            self.wrong_field(name, f"is {_shown(value)}, but must be more than {above:g} and at most {most:g}")
        return number

    def duration(self, name: str, *, positive: bool = False) -> float | None:
        """ "1.5s": seconds, as JSON has protobuf's Duration."""
        value = self._take(name)
        if value is None:
            return None
        match = _DURATION.fullmatch(value) if isinstance(value, str) else None
        if match is None:
            self.wrong_field(name, f'is {_shown(value)}, but must be seconds with an "s", as in "1.5s"')
        seconds = float(value[:-1])
        if positive and seconds == 0:
            self.wrong_field(name, "is 0, but must be more")
        return seconds

    def codes(self, name: str) -> frozenset[StatusCode]:
        """Statuses by name or number."""
        codes = set()
        for number, value in enumerate(self._list(name)):
            try:
                is_number = isinstance(value, int) and not isinstance(value, bool)
                code = StatusCode(value) if is_number else StatusCode[str(value).upper()]
            except (KeyError, ValueError):
                self.wrong_field(f"{name}[{number}]", f"is {_shown(value)}, but must be a status code")
            codes.add(code)
        return frozenset(codes)

    def _list(self, name: str) -> list[Any]:
        value = self._take(name)
        if value is not None and not isinstance(value, list):
            self.wrong_field(name, f"is {_shown(value)}, but must be a list")
        return value or []

    def _take(self, name: str) -> Any:
        self._taken.add(name)
        return self.values.get(name)

    def _at(self, name: str) -> str:
        return f"{self.path}.{name}" if self.path else name


def _shown(value: Any) -> str:
    text = json.dumps(value, default=repr)
    return text if len(text) <= 60 else f"{text[:57]}..."
