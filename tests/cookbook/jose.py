"""JSON Web Tokens, as far as the fakes need them: keys, signing, and checking what a client signed."""

import base64
import hashlib
import json

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils


class Bad(Exception):
    """A token that is not what it should be; the text says why."""


def encode(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decode(text):
    # Unpadded base64url and nothing else (RFC 7515 section 2); Python alone would skip what it does not know.
    try:
        data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError as error:
        raise Bad("not base64url") from error
    if encode(data) != text:
        raise Bad("not base64url")
    return data


def digest(data):
    return encode(hashlib.sha256(data).digest())


class Key:
    """A key pair of a client; `kid` is what the vendor calls it."""

    def __init__(self, kid, kind="RSA"):
        self.kid = kid
        self.private = (
            rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
            if kind == "RSA"
            else ec.generate_private_key(ec.SECP256R1())
        )

    def pem(self):
        return self.private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode()

    def sign(self, claims, **header):
        """An RS256 token, of another party than the daemon."""
        header = {"alg": "RS256", "typ": "JWT", "kid": self.kid} | header
        signed = ".".join(encode(json.dumps(part).encode()) for part in (header, claims))
        return f"{signed}.{encode(self.private.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


def public_of(jwk):
    """The key of a public JWK (RFC 7518 section 6)."""
    if jwk.get("kty") == "RSA":
        return rsa.RSAPublicNumbers(number(jwk["e"]), number(jwk["n"])).public_key()
    if jwk.get("kty") == "EC" and jwk.get("crv") == "P-256":
        return ec.EllipticCurvePublicNumbers(number(jwk["x"]), number(jwk["y"]), ec.SECP256R1()).public_key()
    raise Bad("a kind of key that nobody asked for")


def thumbprint(jwk):
    """The thumbprint of a JWK (RFC 7638)."""
    names = {"EC": ("crv", "kty", "x", "y"), "RSA": ("e", "kty", "n")}[jwk["kty"]]
    text = json.dumps({name: jwk[name] for name in names}, separators=(",", ":"), sort_keys=True)
    return digest(text.encode())


def read(token):
    """The header and the claims of a token whose signature is not known to be good."""
    parts = token.split(".")
    if len(parts) != 3:
        raise Bad("not three parts")
    try:
        header, claims = (json.loads(decode(part)) for part in parts[:2])
    except ValueError as error:
        raise Bad("not JSON") from error
    if not isinstance(header, dict) or not isinstance(claims, dict):
        raise Bad("not objects")
    return header, claims


def verify(token, public, algorithms):
    """The header and the claims of a token, its signature checked."""
    header, claims = read(token)
    if header.get("alg") not in algorithms:
        raise Bad(f"alg is {header.get('alg')}")
    signed, _, signature = token.rpartition(".")
    signed, signature = signed.encode(), decode(signature)
    digest = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}[header["alg"][2:]]
    try:
        match header["alg"][:2]:
            case "RS":
                public.verify(signature, signed, padding.PKCS1v15(), digest)
            case "PS":
                mask = padding.PSS(padding.MGF1(digest), digest.digest_size)
                public.verify(signature, signed, mask, digest)
            case "ES":
                half = len(signature) // 2
                pair = [int.from_bytes(part, "big") for part in (signature[:half], signature[half:])]
                public.verify(utils.encode_dss_signature(*pair), signed, ec.ECDSA(digest))
    except (AttributeError, InvalidSignature, TypeError, ValueError) as error:
        raise Bad("the signature is wrong") from error
    return header, claims


def number(text):
    return int.from_bytes(decode(text), "big")
