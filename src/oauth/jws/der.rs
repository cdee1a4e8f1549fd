//! The little of DER (ITU-T X.690) that it takes to put a SEC 1 key into the PKCS #8 envelope.

use zeroize::Zeroizing;

/// An EC private key (RFC 5915) as PKCS #8 (RFC 5208): a version, the algorithm with the curve, the key.
pub(super) fn pkcs8_of_sec1(curve: &[u8], key: &[u8]) -> Zeroizing<Vec<u8>> {
    let octets = element(OCTET_STRING, key);
    let algorithm = element(SEQUENCE, &[EC_PUBLIC_KEY, curve].concat());
    let content = Zeroizing::new([VERSION_0, algorithm.as_slice(), octets.as_slice()].concat());
    element(SEQUENCE, &content)
}

fn element(tag: u8, content: &[u8]) -> Zeroizing<Vec<u8>> {
    let length = content.len().to_be_bytes();
    let significant = length.iter().position(|byte| *byte != 0).unwrap_or(length.len() - 1);
    let digits = length.get(significant..).unwrap_or_default();
    let mut der = Zeroizing::new(Vec::with_capacity(2 + digits.len() + content.len()));
    der.push(tag);
    if content.len() >= 0x80 {
        der.push(0x80 | u8::try_from(digits.len()).unwrap_or(0));
    }
    der.extend_from_slice(digits);
    der.extend_from_slice(content);
    der
}

const SEQUENCE: u8 = 0x30;
const OCTET_STRING: u8 = 0x04;
const VERSION_0: &[u8] = &[0x02, 1, 0];
/// The object identifier 1.2.840.10045.2.1.
pub(super) const EC_PUBLIC_KEY: &[u8] = &[0x06, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1];
/// 1.2.840.10045.3.1.7, also called secp256r1 and prime256v1.
pub(super) const P256: &[u8] = &[0x06, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
/// 1.3.132.0.34, also called secp384r1.
pub(super) const P384: &[u8] = &[0x06, 5, 0x2b, 0x81, 4, 0, 34];
