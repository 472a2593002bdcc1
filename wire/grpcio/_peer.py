"""Who is at the other end of a call, as grpc says it. Imports wire."""

from __future__ import annotations

import ipaddress
import re
import ssl
from collections.abc import Mapping
from typing import Any

import wire


def peer_text(address: str) -> str:
    """`ipv4:127.0.0.1:40022`, `ipv6:%5B::1%5D:40022`, `unix:`: grpc escapes the brackets, as in a URI."""
    return address.replace("[", "%5B").replace("]", "%5D")


def auth_context(peer: Any) -> dict[str, list[bytes]]:
    """What grpc's C core says of a connection: its security, and the names in the peer's certificate."""
    if peer.tls_version is None:
        return {"transport_security_type": [b"insecure"], "security_level": [b"TSI_SECURITY_NONE"]}
    found: dict[str, list[bytes]] = {"transport_security_type": [b"ssl"]}
    if peer.certificate is not None:
        subject, names, common = _names(peer.certificate_fields or {})
        found["x509_subject"] = [subject]
        if common is not None:
            found["x509_common_name"] = [common]
        found["x509_pem_cert"] = [ssl.DER_cert_to_PEM_cert(peer.certificate).encode()]
        if names:
            found["x509_subject_alternative_name"] = names
    found["security_level"] = [b"TSI_PRIVACY_AND_INTEGRITY"]
    found["ssl_session_reused"] = [b"true" if peer.tls_resumed else b"false"]
    found["ssl_tls_version"] = [peer.tls_version.encode()]
    return found


_IDENTITIES = ("x509_subject_alternative_name", "x509_common_name")


def identity_key(context: dict[str, list[bytes]]) -> str | None:
    """Under which key of the context the peer's identities stand."""
    return next((key for key in _IDENTITIES if key in context), None)


_SHORT = {
    "commonName": "CN",
    "countryName": "C",
    "domainComponent": "DC",
    "localityName": "L",
    "organizationName": "O",
    "organizationalUnitName": "OU",
    "stateOrProvinceName": "ST",
    "streetAddress": "STREET",
    "userId": "UID",
}


def _names(fields: Mapping[str, Any]) -> tuple[bytes, list[bytes], bytes | None]:
    """The subject as text (RFC 4514 §2: its last part first), its alternative names and its first common name."""
    subject = fields.get("subject", ())
    parts = ["+".join(f"{_SHORT.get(name, name)}={_escaped(value)}" for name, value in part) for part in subject]
    common = [value for part in subject for name, value in part if name == "commonName"]
    names = [
        str(ipaddress.ip_address(value)) if kind == "IP Address" else value
        for kind, value in fields.get("subjectAltName", ())
    ]
    text = ",".join(reversed(parts)).encode()
    return text, [name.encode() for name in names], common[0].encode() if common else None


def _escaped(value: str) -> str:
    """RFC 4514 §2.4."""
    escaped = re.sub(r'(["+,;<>\\])', r"\\\1", value)
    if escaped[:1] in ("#", " "):
        escaped = "\\" + escaped
    return escaped[:-1] + "\\ " if escaped.endswith(" ") else escaped


class PeerInfo:
    """What a context says of the other end of its call."""

    def _peer_of_call(self) -> Any:
        """As wire knows it."""
        raise NotImplementedError

    def peer(self) -> str:
        return peer_text(self._peer_of_call().address)

    def peer_identities(self) -> list[bytes] | None:
        context = self.auth_context()
        key = identity_key(context)
        return None if key is None else context[key]

    def peer_identity_key(self) -> str | None:
        return identity_key(self.auth_context())

    def auth_context(self) -> dict[str, list[bytes]]:
        return auth_context(self._peer_of_call())


def status_number(code: Any) -> int:
    """The number of a status that a handler named: a `StatusCode`, or its number; UNKNOWN for what is none."""
    if isinstance(code, int):
        return code if 0 <= code <= 16 else int(wire.StatusCode.UNKNOWN)
    try:
        number: int = code.value[0]
    except (AttributeError, TypeError, IndexError):
        return int(wire.StatusCode.UNKNOWN)
    return number
