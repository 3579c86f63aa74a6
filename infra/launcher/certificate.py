"""The certificate that the edge shows: the operator's, or one for this machine.

Promise: the development certificate is made at the first `up --https`, and again a month before it ends; it names this
machine's own addresses only, certifies nobody else, and its key is for its owner only.
"""

import os
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from edge_api.certificate import Certificate, CertificateError
from edge_api.settings import BadSettingError, certificate_from
from infra.launcher.failure import Failure
from infra.launcher.signing import new_private_key, pem_of
from infra.launcher.state import State

_LASTS = timedelta(days=397)  # browsers believe none that lasts longer
_RENEWED_BEFORE = timedelta(days=30)
_NAMES = [x509.DNSName("localhost"), *(x509.IPAddress(ip_address(address)) for address in ("127.0.0.1", "::1"))]


def edge_certificate(state: State, *, https: bool) -> Certificate | None:
    """What the edge shows; None where it speaks plain HTTP. Raises `Failure` where the operator's files are no good."""
    try:
        given = certificate_from(os.environ)
    except BadSettingError as error:
        raise Failure(str(error)) from None
    if given is not None:
        return Certificate(given.chain.absolute(), given.key.absolute())  # the edge runs in another folder
    return development_certificate(state) if https else None


def development_certificate(state: State) -> Certificate:
    """A self-signed certificate for this machine and its key, as files."""
    certificate = Certificate(state.folder / "tls" / "certificate.pem", state.folder / "tls" / "key.pem")
    if not _is_good(certificate):
        key = new_private_key()
        state.write_text("tls/key.pem", pem_of(key))
        state.write_text("tls/certificate.pem", _signed(key).public_bytes(serialization.Encoding.PEM).decode())
    return certificate


def _is_good(certificate: Certificate) -> bool:
    try:
        certificate.check()
    except CertificateError:
        return False
    found = x509.load_pem_x509_certificate(certificate.chain.read_bytes())
    return found.not_valid_after_utc > datetime.now(UTC) + _RENEWED_BEFORE


def _signed(key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    name, now = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Hedgerow on this machine")]), datetime.now(UTC)
    unsigned = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))  # clocks differ
        .not_valid_after(now + _LASTS)
        .add_extension(x509.SubjectAlternativeName(_NAMES), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    )
    return unsigned.sign(key, hashes.SHA256())
