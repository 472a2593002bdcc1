"""What a context says of the peer's certificate, in grpc's words."""

from __future__ import annotations

from typing import Any

from wire.grpcio._peer import auth_context, identity_key
from wire.transport.contract import Peer


def _context(**fields: Any) -> dict[str, list[bytes]]:
    return auth_context(
        Peer(address="ipv4:1.2.3.4:5", tls_version="TLSv1.3", certificate=b"der", certificate_fields=fields)
    )


def test_the_subject_has_its_last_part_first_and_its_text_escaped() -> None:
    subject = (
        (("countryName", "CH"),),
        (("organizationName", 'A, "B" + C'), ("emailAddress", "a@b")),
        (("commonName", " x"),),
    )
    context = _context(subject=subject)
    assert context["x509_subject"] == [rb"CN=\ x,O=A\, \"B\" \+ C+emailAddress=a@b,C=CH"]
    assert context["x509_common_name"] == [b" x"]
    assert identity_key(context) == "x509_common_name"


def test_alternative_names_come_first() -> None:
    names = (
        ("DNS", "localhost"),
        ("IP Address", "0:0:0:0:0:0:0:1"),
        ("IP Address", "127.0.0.1"),
        ("URI", "spiffe://a/b"),
    )
    context = _context(subject=(), subjectAltName=names)
    assert context["x509_subject_alternative_name"] == [b"localhost", b"::1", b"127.0.0.1", b"spiffe://a/b"]
    assert identity_key(context) == "x509_subject_alternative_name"
    assert "x509_common_name" not in context


def test_a_peer_without_a_certificate_has_no_identity() -> None:
    context = auth_context(Peer(address="ipv4:1.2.3.4:5", tls_version="TLSv1.3"))
    assert (identity_key(context), context["transport_security_type"]) == (None, [b"ssl"])
    assert auth_context(Peer(address="unix:"))["transport_security_type"] == [b"insecure"]
