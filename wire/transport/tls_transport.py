"""TLS as a filter between any transport and its protocol: one data path for every transport and every event loop.

`TlsTransport` is the `TransportProtocol` of the raw transport and the `Transport` of the protocol above. It is
sans-I/O: OpenSSL works on memory BIOs. Each read from the socket is decrypted whole and handed up in one call; each
write goes down in one. Imports `errors`, `contract` and nothing that runs.

A peer that closes its socket without close_notify is reported as at its end: HTTP/2 tells truncation by itself (RFC
8446 §6.1, RFC 9113 §8.1), and common gRPC peers do just that.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Sequence
from dataclasses import replace

from wire.errors import TlsError
from wire.transport.contract import Answer, Peer, SocketCounters, Timer, Transport, TransportProtocol
from wire.transport.tls import ResumingContext

_RECORDS_BYTES = 1 << 18  # OpenSSL decrypts a record (16 KiB) per call, however much is asked for

LOST_IN_HANDSHAKE = "the peer closed the connection during the TLS handshake; it may speak no TLS"
_NOT_TLS = "the peer does not speak TLS"
_NOT_TLS_CLIENT = f"{_NOT_TLS}, and this port speaks TLS"
_NO_HTTP2 = "the peer does not offer HTTP/2 (ALPN h2)"
_PROTOCOL_VERSION_ALERT = b"\x15\x03\x01\0\x02\x02\x46"  # RFC 8446 §6.2; OpenSSL sends none to who speaks no TLS
_REASONS = {
    "WRONG_VERSION_NUMBER": _NOT_TLS,
    "HTTP_REQUEST": _NOT_TLS,
    "HTTPS_PROXY_REQUEST": _NOT_TLS,
    "UNKNOWN_PROTOCOL": _NOT_TLS,
    "BAD_RECORD_TYPE": _NOT_TLS,
    "PACKET_LENGTH_TOO_LONG": _NOT_TLS,
    "RECORD_LAYER_FAILURE": _NOT_TLS,
    "UNSUPPORTED_PROTOCOL": "the peer offers no TLS version from 1.2 up",
    "TLSV1_ALERT_PROTOCOL_VERSION": "the peer offers no TLS version that this side allows",
    "NO_SHARED_CIPHER": "the two sides have no cipher in common",
    "SSLV3_ALERT_HANDSHAKE_FAILURE": "the two sides have no cipher or certificate type in common",
    "NO_APPLICATION_PROTOCOL": _NO_HTTP2,
    "TLSV1_ALERT_NO_APPLICATION_PROTOCOL": _NO_HTTP2,
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "the client sent no certificate",
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "the server requires a client certificate",
    "TLSV1_ALERT_UNKNOWN_CA": "the peer does not trust the CA of our certificate",
    "SSLV3_ALERT_BAD_CERTIFICATE": "the peer refused our certificate",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": "the peer refused our certificate",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "the peer says that our certificate has expired",
    "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE": "the peer refused our certificate as not fit for this use",
    "TLSV1_ALERT_ACCESS_DENIED": "the peer denied access to our certificate",
}


class TlsTransport:
    """`finished` is called once: with None after a handshake and the protocol's `connection_made`, or with why there
    was none."""

    __slots__ = (
        "_answer",
        "_at_eof",
        "_call_later",
        "_closing",
        "_error",
        "_finished",
        "_incoming",
        "_lost_reason",
        "_made",
        "_outgoing",
        "_protocol",
        "_raw",
        "_resuming",
        "_ssl",
        "_timeout_s",
        "_timer",
        "peer",
    )

    def __init__(
        self,
        protocol: TransportProtocol,
        context: ssl.SSLContext,
        *,
        server_name: str | None,
        timeout_s: float,
        call_later: Callable[..., Timer],
        finished: Callable[[str | None], None],
        answer: Answer | None = None,
    ) -> None:
        """`server_name`: what the server's certificate must be valid for; None on the server's side. `answer`: there,
        for clients that do not offer HTTP/2 and then say something; without it they are closed at once."""
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._resuming = context if isinstance(context, ResumingContext) and server_name is not None else None
        self._ssl = context.wrap_bio(
            self._incoming,
            self._outgoing,
            server_side=server_name is None,
            server_hostname=server_name,
            session=None if self._resuming is None else self._resuming.sessions.get(server_name or ""),
        )
        self._protocol = protocol
        self._finished = finished
        self._answer = answer
        self._lost_reason = LOST_IN_HANDSHAKE
        self._timeout_s = timeout_s
        self._call_later = call_later
        self._timer: Timer | None = None  # while the handshake, or the close after a failure, may not last longer
        self._made = False  # the handshake succeeded
        self._error: str | None = None
        self._at_eof = False
        self._closing = False
        self._raw: Transport
        self.peer: Peer

    # The protocol of the raw transport.

    def connection_made(self, transport: Transport) -> None:
        self._raw = transport
        self.peer = transport.peer
        self._timer = self._call_later(self._timeout_s, self._time_out)
        self._shake_hands()

    def data_received(self, data: bytes) -> None:
        if self._at_eof:
            return
        self._incoming.write(data)
        if self._made or self._shake_hands():
            self._read()

    def eof_received(self) -> None:
        if not self._made:
            self._fail(self._lost_reason)
        elif not self._at_eof:
            self._at_eof = True
            self._protocol.eof_received()

    def connection_lost(self, error: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._made:
            self._leave_session()
            if self._error is not None:
                error = TlsError(f"lost {self.peer.address}: {self._error}")
            elif self._closing:
                error = None  # our close_notify met a peer that was gone
            self._protocol.connection_lost(error)
        elif self._error is None:
            self._error = self._lost_reason
            self._finished(self._error)

    def pause_writing(self) -> None:
        if self._made:
            self._protocol.pause_writing()

    def resume_writing(self) -> None:
        if self._made:
            self._protocol.resume_writing()

    # The transport of the protocol above.

    def write(self, data: bytes) -> None:
        if self._closing or not data:
            return
        try:
            self._ssl.write(data)  # a memory BIO takes everything
        except ssl.SSLError as error:
            self._fail(_reason(error))
            return
        self._raw.write(self._outgoing.read())

    def writelines(self, pieces: Sequence[bytes | bytearray | memoryview]) -> None:
        self.write(b"".join(pieces))

    def counters(self) -> SocketCounters | None:
        return self._raw.counters()

    def local_address(self) -> str | None:
        return self._raw.local_address()

    def unsent_bytes(self) -> int:
        return self._raw.unsent_bytes()

    def close(self) -> None:
        if self._closing:
            return
        self._closing = True
        self._leave_session()
        self._notify_close()
        self._flush()
        self._raw.close()

    def abort(self) -> None:
        self._closing = True
        self._raw.abort()

    def pause_reading(self) -> None:
        self._raw.pause_reading()

    def resume_reading(self) -> None:
        self._raw.resume_reading()

    # TLS.

    def _shake_hands(self) -> bool:
        """Go on with the handshake. True when it is complete and the protocol wants to read."""
        try:
            self._ssl.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
            return False
        except ssl.SSLError as error:
            reason = _reason(error)
            if reason == _NOT_TLS and self._ssl.server_side:
                reason = _NOT_TLS_CLIENT
                if not self._outgoing.pending:
                    self._outgoing.write(_PROTOCOL_VERSION_ALERT)
            self._fail(reason)
            return False
        self._flush()
        if self._ssl.selected_alpn_protocol() != "h2":  # RFC 9113 §3.3
            self._refuse()
            return False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.peer = replace(
            self.peer,
            tls_version=self._ssl.version(),
            tls_resumed=bool(self._ssl.session_reused),
            certificate=self._ssl.getpeercert(binary_form=True),
            certificate_fields=self._ssl.getpeercert() or None,
        )
        self._made = True
        self._protocol.connection_made(self)
        self._finished(None)
        return not self._closing

    def _refuse(self) -> None:
        """The peer did not ask for HTTP/2. A client is answered in what it speaks, as soon as it has said something."""
        self._lost_reason = _NO_HTTP2
        if self._answer is not None:
            try:
                said = self._ssl.read(_RECORDS_BYTES)
            except ssl.SSLWantReadError:
                return  # it has as long as a handshake may take
            except ssl.SSLError:
                said = b""
            answer = self._answer(said) if said else b""
            if answer:
                self._ssl.write(answer)
                self._notify_close()
        self._fail(_NO_HTTP2)

    def _read(self) -> None:
        """Decrypt all that came, and hand it up in one call."""
        read, incoming = self._ssl.read, self._incoming
        chunks: list[bytes] = []
        failure: str | None = None  # not the error itself, whose traceback holds this frame
        at_eof = False
        while incoming.pending:
            try:
                chunk = read(_RECORDS_BYTES)
            except ssl.SSLWantReadError:
                break
            except ssl.SSLZeroReturnError:
                chunk = b""
            except ssl.SSLError as error:
                failure = _reason(error)
                break
            if not chunk:
                at_eof = True  # close_notify
                break
            chunks.append(chunk)
        if self._outgoing.pending:  # such as the answer to a KeyUpdate (RFC 8446 §4.6.3)
            self._flush()
        if chunks:
            self._protocol.data_received(chunks[0] if len(chunks) == 1 else b"".join(chunks))
        if self._closing:
            return
        if at_eof:
            self.eof_received()
        elif failure is not None:
            self._fail(failure)

    def _leave_session(self) -> None:
        """For the next connection; servers give it after the handshake (RFC 8446 §4.6.1)."""
        if self._resuming is not None and self._ssl.session is not None:
            self._resuming.sessions[self._ssl.server_hostname or ""] = self._ssl.session

    def _notify_close(self) -> None:
        try:
            self._ssl.unwrap()  # writes close_notify (RFC 8446 §6.1), then wants the peer's, which nobody waits for
        except ssl.SSLError:
            pass

    def _flush(self) -> None:
        data = self._outgoing.read()
        if data:
            self._raw.write(data)

    def _fail(self, reason: str) -> None:
        """Send the alert that OpenSSL has queued, and close, by force when that takes too long."""
        if self._error is not None:
            return
        self._error = reason
        self._closing = self._at_eof = True
        self._flush()
        if self._timer is None:
            self._timer = self._call_later(self._timeout_s, self._time_out)
        self._raw.close()
        if not self._made:
            self._finished(reason)

    def _time_out(self) -> None:
        if self._error is None:
            unfinished = self._lost_reason is LOST_IN_HANDSHAKE
            self._fail(f"the TLS handshake did not finish within {self._timeout_s:g} s" if unfinished else _NO_HTTP2)
        self._raw.abort()


def _reason(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        message = error.verify_message.rstrip(".")
        hint = ""
        if "ostname mismatch" in message or "IP address mismatch" in message:
            hint = "; ClientTls.server_name says which name to expect"
        elif "issuer certificate" in message or "self-signed" in message:
            hint = "; it must be signed by a CA that this side was told to trust"
        return f"the peer's certificate was not accepted: {message}{hint}"
    if error.reason in _REASONS:
        return _REASONS[error.reason]
    return f"TLS failed ({error.reason.lower().replace('_', ' ')})" if error.reason else "TLS failed"
