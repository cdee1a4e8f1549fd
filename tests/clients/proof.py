"""Checks DPoP proofs (RFC 9449) to the last bit, ES256 signature included, with the standard library alone."""

import base64
import hashlib
import json
import time

# P-256 (FIPS 186-5, SP 800-186).
P = 2**256 - 2**224 + 2**192 + 2**96 - 1
N = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
B = 0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B
G = (
    0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296,
    0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5,
)
# How far a proof's time may be from ours, seconds.
SKEW = 60


class Unfit(Exception):
    """What is wrong with a proof."""


def check(text, *, method, url, token=None):
    """The claims of a proof that fits this request, and the thumbprint of its key (RFC 7638)."""
    try:
        head, payload, signature = text.split(".")
        header, claims = json.loads(decoded(head)), json.loads(decoded(payload))
        jwk = header["jwk"]
        point = tuple(int.from_bytes(decoded(jwk[axis])) for axis in ("x", "y"))
    except (ValueError, KeyError, TypeError) as error:
        raise Unfit(f"no proof: {error!r}") from None
    _expect("typ", header.get("typ"), "dpop+jwt")
    _expect("alg", header.get("alg"), "ES256")
    _expect("names of the key's members", sorted(jwk), ["crv", "kty", "x", "y"])
    if not verified(point, f"{head}.{payload}".encode(), decoded(signature)):
        raise Unfit("the signature is wrong")
    _expect("htm", claims.get("htm"), method)
    _expect("htu", claims.get("htu"), url)
    _expect("ath", claims.get("ath"), token and encoded(hashlib.sha256(token.encode()).digest()))
    if not claims.get("jti"):
        raise Unfit("no jti")
    if abs(time.time() - claims.get("iat", 0)) > SKEW:
        raise Unfit(f"iat is {claims.get('iat')}")
    return claims, thumbprint(jwk)


def _expect(what, got, expected):
    if got != expected:
        raise Unfit(f"{what} is {got!r}, not {expected!r}")


def thumbprint(jwk):
    members = {name: jwk[name] for name in ("crv", "kty", "x", "y")}
    return encoded(hashlib.sha256(json.dumps(members, separators=(",", ":")).encode()).digest())


def verified(point, message, signature):
    """Whether this is the ES256 signature (RFC 7518 section 3.4) of the message by the key."""
    x, y = point
    if len(signature) != 64 or max(x, y) >= P or (y * y - x * x * x + 3 * x - B) % P:
        return False
    r, s = int.from_bytes(signature[:32]), int.from_bytes(signature[32:])
    if not (0 < r < N and 0 < s < N):
        return False
    inverse = pow(s, -1, N)
    digest = int.from_bytes(hashlib.sha256(message).digest())
    found = _add(_times(digest * inverse % N, G), _times(r * inverse % N, point))
    return found is not None and found[0] % N == r


def _add(one, other):
    """The sum of two points of the curve; None is the point at infinity."""
    if one is None or other is None:
        return one or other
    (ax, ay), (bx, by) = one, other
    if ax == bx and (ay + by) % P == 0:
        return None
    slope = (3 * ax * ax - 3) * pow(2 * ay, -1, P) if one == other else (by - ay) * pow(bx - ax, -1, P)
    x = (slope * slope - ax - bx) % P
    return x, (slope * (ax - x) - ay) % P


def _times(factor, point):
    total = None
    while factor:
        if factor & 1:
            total = _add(total, point)
        point, factor = _add(point, point), factor >> 1
    return total


def decoded(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def encoded(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
