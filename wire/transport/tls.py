"""What a user says about TLS: certificates and keys in, as paths or as bytes, `ssl.SSLContext`s out.

Both sides speak TLS 1.2 or newer and negotiate `h2` by ALPN (RFC 9113 §3.3, §9.2; RFC 7301). Files are read when the
object is made, and a file that cannot be used raises `TlsError` then; a certificate of one's own that has expired, or
is not valid yet, is warned of. Renewed files are taken up without a restart, at the next connection that is made a
minute or more after the last look, or at once by `reload`. Imports `errors` and `file_watch`.
"""

from __future__ import annotations

import logging
import re
import ssl
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from os import PathLike
from tempfile import NamedTemporaryFile
from typing import Any, Final, Self, TypeVar

from wire.errors import ConfigurationError, TlsError
from wire.transport.file_watch import FileWatch

T = TypeVar("T")

Path = str | PathLike[str]
Pem = Path | bytes
"""The path of a PEM file, or what is in one."""

_log = logging.getLogger("wire.transport")
_UNWATCHED: Final[dict[str, Any]] = {"reload_interval_s": None, "_watch": None}
_PEM_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)


@dataclass(frozen=True, slots=True)
class ServerTls:
    """A server's identity, and whom it lets in.

    Each is the path of a PEM file, or what is in one, as bytes. `certificate`: the server's own first, then
    intermediates. `key`: its private key, without a passphrase. `client_ca`: when given, clients must present a
    certificate that one of these signed (mTLS).
    `reload_interval_s`: how often new connections look whether the files have changed, which are then read again, in
    seconds; None leaves that to `reload`. Files that cannot be used are warned of, and those before them stay.
    """

    certificate: Pem
    key: Pem = field(repr=False)
    client_ca: Pem | None = None
    reload_interval_s: float | None = field(default=60.0, kw_only=True)
    context: ssl.SSLContext = field(init=False, repr=False, compare=False)
    _watch: FileWatch | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_watch", _watch(self.reload_interval_s, self.certificate, self.key, self.client_ca))
        object.__setattr__(self, "context", self._make_context())

    def _make_context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        _common(context)
        context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE
        with _files(self.certificate, self.key, self.client_ca) as (certificate, key, client_ca):
            assert certificate is not None
            assert key is not None
            _load_certificate(context, certificate, key)
            if client_ca is not None:
                _load_roots(context, client_ca)
        if self.client_ca is not None:
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def __reduce__(self) -> tuple[Any, ...]:
        """A context cannot be pickled; another process reads the files again."""
        return partial(ServerTls, reload_interval_s=self.reload_interval_s), (
            self.certificate,
            self.key,
            self.client_ca,
        )

    def reload(self) -> None:
        """Read the files again, into a new `context`: connections made from now on have the new certificate, those
        that are open go on. Raises `TlsError`, and changes nothing, when they cannot be used."""
        _check_reloadable(self.key)
        object.__setattr__(self, "context", self._make_context())

    def current(self) -> ssl.SSLContext:
        """The context for a new connection, with files that have changed read again."""
        if self._watch is not None and self._watch.changed():
            _reload_or_keep(self, self.certificate)
        return self.context

    @classmethod
    def from_context(cls, context: ssl.SSLContext) -> Self:
        """With a context of one's own making, which must offer h2 by ALPN. It does not pickle."""
        return _of_context(cls, context, {"certificate": _shown(context), "key": "", "client_ca": None, **_UNWATCHED})


class ResumingContext(ssl.SSLContext):
    """One whose connections leave their TLS session for the next to the same name (RFC 8446 §2.2)."""

    sessions: dict[str, ssl.SSLSession]


@dataclass(frozen=True, slots=True)
class ClientTls:
    """Whom a client trusts, and who it says it is.

    PEM, as for `ServerTls`. `root_ca`: None trusts what the system trusts. `certificate`, `key`: for servers that ask
    for one (mTLS).
    `server_name`: the name the server's certificate must be valid for, where it is not the host in the address
    (always so over VSOCK); None takes that host, or "localhost" for transports that have none; it is also what is asked
    for by SNI.
    `verify`: False takes any certificate, so that whoever is in between can read and change everything: for trials.
    `reload_interval_s`: as for `ServerTls`.
    `resume`: later connections to a server resume the TLS session of an earlier one, which spares both the signatures;
    what a server saw of the client's certificate then counts on. Sessions go with files that are read again.
    """

    root_ca: Pem | None = None
    certificate: Pem | None = None
    key: Pem | None = field(default=None, repr=False)
    server_name: str | None = None
    verify: bool = True
    reload_interval_s: float | None = field(default=60.0, kw_only=True)
    resume: bool = field(default=False, kw_only=True)
    context: ssl.SSLContext = field(init=False, repr=False, compare=False)
    _watch: FileWatch | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.key is None):
            raise ConfigurationError("a client certificate needs its key, and a key its certificate")
        if not self.verify and self.root_ca is not None:
            raise ConfigurationError("a root_ca is of no use with verify=False: nothing is verified")
        object.__setattr__(self, "_watch", _watch(self.reload_interval_s, self.root_ca, self.certificate, self.key))
        object.__setattr__(self, "context", self._make_context())

    def _make_context(self) -> ssl.SSLContext:
        # Verifies the server's certificate and its name.
        context = (ResumingContext if self.resume else ssl.SSLContext)(ssl.PROTOCOL_TLS_CLIENT)
        if isinstance(context, ResumingContext):
            context.sessions = {}
        _common(context)
        with _files(self.root_ca, self.certificate, self.key) as (root_ca, certificate, key):
            if not self.verify:
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
            elif root_ca is None:
                context.load_default_certs()
            else:
                _load_roots(context, root_ca)
            if certificate is not None and key is not None:
                _load_certificate(context, certificate, key)
        return context

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(ClientTls, reload_interval_s=self.reload_interval_s, resume=self.resume), (
            self.root_ca,
            self.certificate,
            self.key,
            self.server_name,
            self.verify,
        )

    def reload(self) -> None:
        """As `ServerTls.reload`."""
        _check_reloadable(self.key)
        object.__setattr__(self, "context", self._make_context())

    def current(self) -> ssl.SSLContext:
        """As `ServerTls.current`."""
        if self._watch is not None and self._watch.changed():
            _reload_or_keep(self, self.certificate or self.root_ca)
        return self.context

    @classmethod
    def from_context(cls, context: ssl.SSLContext, server_name: str | None = None) -> Self:
        """With a context of one's own making, which must offer h2 by ALPN. It does not pickle."""
        fields = {
            "root_ca": _shown(context),
            "certificate": None,
            "key": "",
            "server_name": server_name,
            "verify": True,
            "resume": False,
            **_UNWATCHED,
        }
        return _of_context(cls, context, fields)


def _watch(interval_s: float | None, *contents: Pem | None) -> FileWatch | None:
    """Of those that are files. None where none is, or nobody is to look."""
    if interval_s is None:
        return None
    if not interval_s >= 0:
        raise ConfigurationError(f"reload_interval_s is {interval_s!r}, but must be 0 or more, or None")
    paths = [content for content in contents if content is not None and not isinstance(content, bytes)]
    return FileWatch(paths, interval_s) if paths else None


def _reload_or_keep(tls: ServerTls | ClientTls, of: Pem | None) -> None:
    try:
        tls.reload()
    except (TlsError, OSError) as error:
        _log.warning("the TLS files have changed and cannot be used, so that what was read before stays: %s", error)
    else:
        _log.info("the TLS files have changed and were read again: %s", "bytes" if isinstance(of, bytes) else of)


def _check_reloadable(key: Pem | None) -> None:
    if key == "":
        raise ConfigurationError("a context of one's own is reloaded by whoever made it: context.load_cert_chain(...)")


def _shown(context: ssl.SSLContext) -> str:
    """What stands for the files that were not read: it tells one context from another."""
    return f"SSLContext at {id(context):#x}"


def _of_context(kind: type[T], context: ssl.SSLContext, fields: dict[str, Any]) -> T:
    made = object.__new__(kind)
    for name, value in (*fields.items(), ("context", context)):
        object.__setattr__(made, name, value)
    return made


def _common(context: ssl.SSLContext) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1_2  # RFC 9113 §9.2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION  # §9.2.1
    context.set_alpn_protocols(["h2"])  # §3.3


@contextmanager
def _files(*contents: Pem | None) -> Iterator[list[Path | None]]:
    """Paths of PEM files: OpenSSL reads certificates from files alone. What was given as bytes is in one for our eyes
    only, as long as the block lasts."""
    with ExitStack() as exits:
        paths: list[Path | None] = []
        for content in contents:
            if isinstance(content, bytes):
                file = exits.enter_context(NamedTemporaryFile(prefix="given-as-bytes-", suffix=".pem"))
                file.write(content)
                file.flush()
                paths.append(file.name)
            else:
                paths.append(content)
        yield paths


def _no_passphrase() -> str:
    raise ConfigurationError("the key is encrypted")  # without this, OpenSSL would ask for it on the terminal


def _load_certificate(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    try:
        context.load_cert_chain(certificate, key, _no_passphrase)
    except ConfigurationError:
        raise TlsError(f"the private key {key} has a passphrase; give a key without one") from None
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise TlsError(f"the private key {key} does not belong to the certificate {certificate}") from None
        raise TlsError(
            f"the certificate {certificate} and the private key {key} cannot be used: both must be PEM files"
            + (f" ({error.reason.lower().replace('_', ' ')})" if error.reason else "")
        ) from None
    except OSError:
        for path in (certificate, key):
            _check_readable(path)
        raise
    _warn_of_dates(certificate)


def _warn_of_dates(certificate: Path) -> None:
    """Say it now if the peers will refuse the certificate because of its dates."""
    with open(certificate, encoding="ascii", errors="replace") as file:
        dates = _validity(file.read())
    if dates is None:
        return
    now = datetime.now(UTC)
    if now < dates[0]:
        _log.warning("the certificate %s is not valid before %s: peers will refuse it", certificate, dates[0])
    elif now > dates[1]:
        _log.warning("the certificate %s expired at %s: peers will refuse it", certificate, dates[1])


def _validity(pem: str) -> tuple[datetime, datetime] | None:
    """From when until when the first certificate is valid (RFC 5280 §4.1.2.5); None where that cannot be read."""
    found = _PEM_CERTIFICATE.search(pem)
    if found is None:
        return None
    try:
        der = ssl.PEM_cert_to_DER_cert(found[0])
        start, _ = _content(der, _content(der, 0)[0])  # into the Certificate, and into its TBSCertificate
        if der[start] == 0xA0:  # [0] version
            start = _content(der, start)[1]
        for _ in ("serialNumber", "signature", "issuer"):
            start = _content(der, start)[1]
        first, _ = _content(der, start)
        second = _content(der, first)[1]
        return _time(der, first), _time(der, second)
    except (IndexError, ValueError):
        return None


def _content(der: bytes, pos: int) -> tuple[int, int]:
    """Where the content of the DER element at `pos` starts and ends."""
    length = der[pos + 1]
    start = pos + 2
    if length > 127:
        start += length - 128
        length = int.from_bytes(der[pos + 2 : start], "big")
    return start, start + length


def _time(der: bytes, pos: int) -> datetime:
    start, end = _content(der, pos)
    text = der[start:end].decode("ascii")
    if der[pos] == 0x17:  # UTCTime has two digits for the year: 50 and more are of the last century
        text = ("19" if text >= "50" else "20") + text
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)


def _load_roots(context: ssl.SSLContext, roots: Path) -> None:
    try:
        context.load_verify_locations(roots)
    except ssl.SSLError:
        raise TlsError(f"{roots} holds no CA certificates in PEM form") from None
    except OSError:
        _check_readable(roots)
        raise


def _check_readable(path: Path) -> None:
    """Raise the sentence for a file that cannot be read: OpenSSL's own error does not name it."""
    try:
        with open(path, "rb"):
            pass
    except OSError as error:
        raise TlsError(f"cannot read {path}: {(error.strerror or str(error)).lower()}", error.errno) from None
