"""Connections, assertions and key material for pykmip_flow.py."""

import datetime
import os
import ssl
import sys

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

if not hasattr(ssl, "wrap_socket"):  # gone from Python 3.12, and the library still calls it
    def _wrap_socket(sock, keyfile=None, certfile=None, cert_reqs=ssl.CERT_NONE, ssl_version=None, ca_certs=None,
                     do_handshake_on_connect=True, suppress_ragged_eofs=True, **_):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.load_verify_locations(ca_certs)
        context.load_cert_chain(certfile, keyfile)
        return context.wrap_socket(sock, do_handshake_on_connect=do_handshake_on_connect,
                                   suppress_ragged_eofs=suppress_ragged_eofs)
    ssl.wrap_socket = _wrap_socket

from kmip.core import enums  # noqa: E402 (needs ssl.wrap_socket)
from kmip.core import objects as cobjects  # noqa: E402
from kmip.core.exceptions import OperationFailure  # noqa: E402
from kmip.core.factories import attributes as attribute_factories  # noqa: E402
from kmip.pie import exceptions, objects  # noqa: E402
from kmip.pie.client import ProxyKmipClient  # noqa: E402

factory = attribute_factories.AttributeFactory()


class Wrong(Exception):
    """A result that is not what KMIP says."""


def same(got, want, what="result"):
    if got != want:
        raise Wrong("%s: got %r, want %r" % (what, got, want))


def true(condition, what):
    if not condition:
        raise Wrong(what)


def refused(reasons, call, *args, **kwargs):
    """The call must fail with one of the result reasons."""
    if not isinstance(reasons, (list, tuple)):
        reasons = [reasons]
    try:
        got = call(*args, **kwargs)
    except (exceptions.KmipOperationFailure, OperationFailure) as e:  # which one depends on the operation
        reason = e.reason if isinstance(e.reason, enums.ResultReason) else getattr(e.reason, "value", e.reason)
        true(reason in reasons, "refused with %r, want one of %r" % (reason, reasons))
        return
    raise Wrong("not refused: got %r" % (got,))


def connect(directory, address, version, tls=None):
    host, port = address.rsplit(":", 1)
    client = ProxyKmipClient(
        hostname=host, port=int(port), config_file=config(directory, address, tls or "PROTOCOL_SSLv23"),
        kmip_version=version)
    client.open()
    return client


def config(directory, address, ssl_version):
    """Writes the ini file that the library reads its TLS settings from."""
    host, port = address.rsplit(":", 1)
    path = os.path.join(directory, "pykmip-%s.conf" % ssl_version)
    with open(path, "w") as f:
        f.write("\n".join([
            "[client]", "host=" + host, "port=" + port,
            "certfile=" + os.path.join(directory, "client.crt"), "keyfile=" + os.path.join(directory, "client.key"),
            "ca_certs=" + os.path.join(directory, "ca.crt"), "cert_reqs=CERT_REQUIRED", "ssl_version=" + ssl_version,
            "do_handshake_on_connect=True", "suppress_ragged_eofs=True", "username=None", "password=None", ""]))
    return path


def attribute(kind, value, index=None):
    return factory.create_attribute(kind, value, index)


def register_with(client, obj, extra):
    """Registers with attributes that the library's own register does not send."""
    attributes = list(extra)
    masks = getattr(obj, "cryptographic_usage_masks", None)
    if masks:
        attributes.append(attribute(enums.AttributeType.CRYPTOGRAPHIC_USAGE_MASK, masks))
    result = client.proxy.register(
        obj.object_type, cobjects.TemplateAttribute(attributes=attributes), client.object_factory.convert(obj))
    if result.result_status.value != enums.ResultStatus.SUCCESS:
        raise exceptions.KmipOperationFailure(
            result.result_status.value, result.result_reason.value, result.result_message.value)
    return result.uuid


class Material:
    """Keys and certificates made for one run."""

    def __init__(self):
        self.rsa = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.ec = ec.generate_private_key(ec.SECP256R1())
        der, raw = serialization.Encoding.DER, serialization.NoEncryption()
        self.rsa_pkcs1 = self.rsa.private_bytes(der, serialization.PrivateFormat.TraditionalOpenSSL, raw)
        self.rsa_pkcs8 = self.rsa.private_bytes(der, serialization.PrivateFormat.PKCS8, raw)
        self.rsa_public_pkcs1 = self.rsa.public_key().public_bytes(der, serialization.PublicFormat.PKCS1)
        self.rsa_public_x509 = self.rsa.public_key().public_bytes(der, serialization.PublicFormat.SubjectPublicKeyInfo)
        self.ec_pkcs8 = self.ec.private_bytes(der, serialization.PrivateFormat.PKCS8, raw)
        self.certificate = self._certificate().public_bytes(der)

    def _certificate(self):
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "pykmip flow")])
        now = datetime.datetime.utcnow()
        return (x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(self.rsa.public_key())
                .serial_number(x509.random_serial_number()).not_valid_before(now)
                .not_valid_after(now + datetime.timedelta(days=30)).sign(self.rsa, hashes.SHA256()))


class Steps:
    """Runs steps in order, prints a line for each, and ends the process at the first that is wrong.

    With KMIPD_KEEP_GOING=1 in the environment it goes on, which shows more when a server is new.
    """

    failed = 0

    def __init__(self, title):
        self.title = title
        self.count = 0

    def __call__(self, title, call, /, *args, **kwargs):
        try:
            got = call(*args, **kwargs)
        except Exception as e:  # any exception is a wrong result here, the library's own included
            print("FAIL %s: %s: %s: %s" % (self.title, title, type(e).__name__, e))
            if os.environ.get("KMIPD_KEEP_GOING") != "1":
                sys.exit(1)
            Steps.failed += 1
            return None
        self.count += 1
        print("ok   %s: %s" % (self.title, title))
        sys.stdout.flush()
        return got


__all__ = ["Material", "Steps", "Wrong", "attribute", "connect", "enums", "objects", "refused", "register_with", "same",
           "true"]
