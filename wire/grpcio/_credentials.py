"""Credentials of `grpc`, as wire's TLS configuration. What has no meaning here raises one sentence when it is used.

Imports wire and the abstract classes.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import copy_context
from typing import Any, NamedTuple

import wire
from wire.grpcio import _abstract
from wire.grpcio._auth import AccessTokenAuthMetadataPlugin
from wire.grpcio._enums import LocalConnectionType
from wire.grpcio._metadata import to_wire
from wire.grpcio._renewed_tls import RenewedTls, ServerCertificateConfiguration, server_tls
from wire.grpcio._session_cache import SSLSessionCacheLRU

_log = logging.getLogger("grpc._plugin_wrapping")


class _AuthMetadataContext(NamedTuple):
    service_url: str
    method_name: str


class AuthMetadataContext(_AuthMetadataContext, _abstract.AuthMetadataContext):
    """What a plugin is asked for."""


class _Callback(_abstract.AuthMetadataPluginCallback):
    """Takes what a plugin gives, from whatever thread and once."""

    def __init__(self, answer: Future[Any]) -> None:
        self._answer = answer

    def __call__(self, metadata: Any, error: Any) -> None:
        if self._answer.done():
            raise RuntimeError("AuthMetadataPluginCallback invoked more than once!")
        if error is None:
            self._answer.set_result(metadata)
        else:
            self._answer.set_exception(error if isinstance(error, Exception) else RuntimeError(str(error)))


class CallCredentials:
    """What adds metadata to each call: plugins, asked in turn."""

    def __init__(self, *plugins: Any) -> None:
        self.plugins = plugins
        self._context = copy_context()  # in which plugins run, from whatever thread they are asked

    def provider(self) -> wire.CallCredentials:
        """The same as wire takes it, in an event loop: plugins may block, so that they run in a thread."""
        return lambda call: asyncio.to_thread(self.ask, call)

    def ask(self, call: wire.CallContext) -> list[tuple[str, str | bytes]]:
        """What the plugins give for a call. Raises `wire.RpcError` when one fails."""
        context = AuthMetadataContext(call.service_url, call.method.rpartition("/")[2])
        pairs: list[tuple[str, str | bytes]] = []
        for plugin in self.plugins:
            answer: Future[Any] = Future()
            try:
                self._context.copy().run(plugin, context, _Callback(answer))
                pairs += to_wire(answer.result() or ())
            except Exception as error:
                _log.exception('AuthMetadataPluginCallback "%s" raised exception!', plugin)
                text = f"Getting metadata from plugin failed with error: {error}"
                raise wire.RpcError(wire.StatusCode.UNAVAILABLE, text) from error
        return pairs


def check_call_credentials(credentials: Any) -> None:
    """Raises what grpcio raises for what are none."""
    if not isinstance(credentials, CallCredentials):
        raise AttributeError(f"'{type(credentials).__name__}' object has no attribute '_credentials'")


class ChannelCredentials:
    """What a channel is secured with. `tls`: server name or None → wire's configuration, or None for the clear."""

    def __init__(
        self, tls: Callable[[str | None], wire.ClientTls | None], call_credentials: CallCredentials | None = None
    ) -> None:
        self.tls = tls
        self.call_credentials = call_credentials

    def provider(self) -> wire.CallCredentials | None:
        """What adds metadata to each call, as wire takes it."""
        return None if self.call_credentials is None else self.call_credentials.provider()


def client_tls(credentials: ChannelCredentials | None, options: dict[str, Any]) -> wire.ClientTls | None:
    """What a channel with these options is secured with."""
    if credentials is None:
        return None
    name = options.get("grpc.ssl_target_name_override")
    cache = options.get("grpc.ssl_session_cache")
    return cache.get(credentials.tls, name) if isinstance(cache, SSLSessionCacheLRU) else credentials.tls(name)


class ServerCredentials:
    """What a port is secured with. `tls`: wire's configuration, or None for the clear."""

    def __init__(self, tls: Callable[[], wire.ServerTls | None]) -> None:
        self.tls = tls


def ssl_channel_credentials(
    root_certificates: bytes | None = None, private_key: bytes | None = None, certificate_chain: bytes | None = None
) -> ChannelCredentials:
    """TLS: whom to trust (None: what the system trusts), and a certificate of one's own. All are PEM."""
    for given in (root_certificates, private_key, certificate_chain):
        if given is not None and not isinstance(given, bytes):
            raise TypeError(f"expected bytes, {type(given).__name__} found")
    if root_certificates is None and "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH" in os.environ:
        with open(os.environ["GRPC_DEFAULT_SSL_ROOTS_FILE_PATH"], "rb") as file:
            root_certificates = file.read()

    def tls(server_name: str | None) -> wire.ClientTls:
        return wire.ClientTls(root_certificates, certificate_chain, private_key, server_name)

    return ChannelCredentials(tls)


def ssl_server_credentials(
    private_key_certificate_chain_pairs: Any, root_certificates: bytes | None = None, require_client_auth: bool = False
) -> ServerCredentials:
    """TLS: pairs of private key and certificate chain, PEM; with `root_certificates` and `require_client_auth`, clients
    must present a certificate that one of these signed."""
    pairs = tuple(private_key_certificate_chain_pairs)
    for given in (root_certificates, *(each for pair in pairs for each in pair)):
        if given is not None and not isinstance(given, bytes):
            raise TypeError(f"expected bytes, {type(given).__name__} found")
    if not pairs:
        raise ValueError("At least one private key-certificate chain pair is required!")
    if require_client_auth and root_certificates is None:
        raise ValueError("Illegal to require client auth without providing root certificates!")

    found = ServerCertificateConfiguration(pairs, root_certificates)
    return ServerCredentials(lambda: server_tls(found, require_client_auth))


def ssl_server_certificate_configuration(
    private_key_certificate_chain_pairs: Any, root_certificates: bytes | None = None
) -> ServerCertificateConfiguration:
    """What a fetcher of `dynamic_ssl_server_credentials` returns."""
    if private_key_certificate_chain_pairs:
        return ServerCertificateConfiguration(tuple(private_key_certificate_chain_pairs), root_certificates)
    raise ValueError("At least one private key-certificate chain pair is required!")


def dynamic_ssl_server_credentials(
    initial_certificate_configuration: ServerCertificateConfiguration,
    certificate_configuration_fetcher: Callable[[], ServerCertificateConfiguration | None],
    require_client_authentication: bool = False,
) -> ServerCredentials:
    """TLS whose certificates may change: the fetcher is asked in each handshake, in the server's thread."""
    if not isinstance(initial_certificate_configuration, ServerCertificateConfiguration):
        raise TypeError("initial_cert_config must be a grpc.ServerCertificateConfiguration")
    if not callable(certificate_configuration_fetcher):
        raise TypeError("cert_config_fetcher must be callable")

    def tls() -> wire.ServerTls:
        arguments = initial_certificate_configuration, certificate_configuration_fetcher, require_client_authentication
        return RenewedTls(*arguments).tls

    return ServerCredentials(tls)


def _check_local(local_connect_type: Any) -> None:
    LocalConnectionType(local_connect_type.value)


def local_channel_credentials(local_connect_type: Any = LocalConnectionType.LOCAL_TCP) -> ChannelCredentials:
    """In the clear, to a peer of the same machine."""
    _check_local(local_connect_type)
    return ChannelCredentials(lambda server_name: None)


def local_server_credentials(local_connect_type: Any = LocalConnectionType.LOCAL_TCP) -> ServerCredentials:
    """In the clear, for peers of the same machine."""
    _check_local(local_connect_type)
    return ServerCredentials(lambda: None)


def insecure_server_credentials() -> ServerCredentials:
    """In the clear."""
    return ServerCredentials(lambda: None)


def insecure_channel_credentials() -> ChannelCredentials:
    """In the clear."""
    return ChannelCredentials(lambda server_name: None)


def metadata_call_credentials(metadata_plugin: Any, name: str | None = None) -> CallCredentials:
    """A plugin that is asked for metadata at each call."""
    return CallCredentials(metadata_plugin)


def access_token_call_credentials(access_token: str) -> CallCredentials:
    """`authorization: Bearer …` on each call."""
    return CallCredentials(AccessTokenAuthMetadataPlugin(access_token))


def composite_call_credentials(*call_credentials: CallCredentials) -> CallCredentials:
    """All of these."""
    return CallCredentials(*(plugin for each in call_credentials for plugin in each.plugins))


def composite_channel_credentials(
    channel_credentials: ChannelCredentials, *call_credentials: CallCredentials
) -> ChannelCredentials:
    """Channel credentials, with call credentials for each call."""
    own = channel_credentials.call_credentials
    together = composite_call_credentials(*(() if own is None else (own,)), *call_credentials)
    return ChannelCredentials(channel_credentials.tls, together)


def _has_no_meaning(name: str) -> Any:
    raise NotImplementedError(f"wire has no {name}: use grpc.ssl_channel_credentials or grpc.ssl_server_credentials")


def alts_channel_credentials(service_accounts: Any = None) -> ChannelCredentials:
    """Google's own network only: raises `NotImplementedError`."""
    return _has_no_meaning("ALTS credentials")  # type: ignore[no-any-return]


def alts_server_credentials() -> ServerCredentials:
    """Google's own network only: raises `NotImplementedError`."""
    return _has_no_meaning("ALTS credentials")  # type: ignore[no-any-return]


def compute_engine_channel_credentials(call_credentials: CallCredentials) -> ChannelCredentials:
    """TLS to whom the system trusts, with call credentials: what these are wherever there is no ALTS."""
    return composite_channel_credentials(ssl_channel_credentials(), call_credentials)


def xds_channel_credentials(fallback_credentials: ChannelCredentials | None = None) -> ChannelCredentials:
    """The fallback (TLS, where there is none), as for every target that is not xDS's: wire has no xDS."""
    return ssl_channel_credentials() if fallback_credentials is None else fallback_credentials


def xds_server_credentials(fallback_credentials: ServerCredentials) -> ServerCredentials:
    """The fallback, as on every server that is not xDS's: wire has no xDS."""
    return fallback_credentials
