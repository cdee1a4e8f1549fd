"""Keys and certificates for the tests: a certificate authority, and what it or a client signs itself."""

import base64
import datetime
import ipaddress
import json

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.x509.oid import NameOID


def new_key(algorithm):
    """A private key for this algorithm of JSON Web Signatures."""
    if algorithm == "EdDSA":
        return ed25519.Ed25519PrivateKey.generate()
    if algorithm.startswith("ES"):
        return ec.generate_private_key({"ES256": ec.SECP256R1, "ES384": ec.SECP384R1}[algorithm]())
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def pem(key):
    pkcs8 = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, pkcs8, serialization.NoEncryption()).decode()


def public_pem(key):
    """The public key in PEM, without its frame."""
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    lines = key.public_key().public_bytes(serialization.Encoding.PEM, form).decode().splitlines()
    return "".join(lines[1:-1])


def base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def jwk(key, **more):
    """The public key as a JWK."""
    public = key.public_key()
    if isinstance(key, rsa.RSAPrivateKey):
        numbers = public.public_numbers()
        parts = {"kty": "RSA", "n": base64url(numbers.n.to_bytes(256, "big")), "e": "AQAB"}
    elif isinstance(key, ed25519.Ed25519PrivateKey):
        parts = {"kty": "OKP", "crv": "Ed25519", "x": base64url(public.public_bytes_raw())}
    else:
        numbers, size = public.public_numbers(), key.key_size // 8
        parts = {"kty": "EC", "crv": f"P-{key.key_size}"}
        parts |= {"x": base64url(numbers.x.to_bytes(size, "big")), "y": base64url(numbers.y.to_bytes(size, "big"))}
    return parts | more


class Authority:
    """A certificate authority of the test's own."""

    def __init__(self):
        self.key = new_key("ES256")
        self.certificate = certificate(self.key, "test authority", authority=True)

    def issue(self, key, name):
        return certificate(key, name, issuer=self)


def certificate(key, name, issuer=None, authority=False):
    """A certificate for `name` and for loopback, signed by `issuer` or by itself."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.timezone.utc)
    names = [x509.IPAddress(ipaddress.ip_address("127.0.0.1"))] + ([] if " " in name else [x509.DNSName(name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
    )
    return builder.sign(issuer.key if issuer else key, hashes.SHA256())


def certificate_pem(found):
    return found.public_bytes(serialization.Encoding.PEM).decode()


def x5c(found):
    return base64.b64encode(found.public_bytes(serialization.Encoding.DER)).decode()


def thumbprint(found):
    return base64url(found.fingerprint(hashes.SHA256()))


def sign(key, claims, **header):
    """A compact JWT signed with ES256, as a platform hands it out in a file."""
    parts = [base64url(json.dumps(part).encode()) for part in ({"alg": "ES256", "typ": "JWT"} | header, claims)]
    r, s = decode_dss_signature(key.sign(".".join(parts).encode(), ec.ECDSA(hashes.SHA256())))
    return ".".join([*parts, base64url(r.to_bytes(32, "big") + s.to_bytes(32, "big"))])
