//! Each kind of key in each form it comes in. The keys were made for these tests with OpenSSL, and are used nowhere.

use std::slice;

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL};
use proptest::prelude::*;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, KeyPair as _, RSA_PSS_2048_8192_SHA256, UnparsedPublicKey,
    VerificationAlgorithm,
};
use serde_json::json;

use super::{key::Kind, *};
use crate::sensitive::Sensitive;

fn read(text: &str) -> Result<SigningKey, String> {
    SigningKey::read(&Sensitive::new(text)).map_err(|error| error.to_string())
}

fn signature(key: &SigningKey, algorithm: Algorithm) -> String {
    encoded(&key.signature(algorithm, MESSAGE).unwrap())
}

fn verifies(with: &'static dyn VerificationAlgorithm, public: &[u8], signature: &str) -> bool {
    UnparsedPublicKey::new(with, public).verify(MESSAGE, &BASE64URL.decode(signature).unwrap()).is_ok()
}

const MESSAGE: &[u8] = b"a.b";

#[test]
fn rsa_signs_as_openssl_does_whatever_the_key_is_wrapped_in() {
    for form in [RSA_PKCS8, RSA_PKCS1] {
        let key = read(form).unwrap();
        assert_eq!(signature(&key, Algorithm::Rs256), RSA_SIGNATURE);
        let Kind::Rsa(pair) = &key.kind else { panic!("another kind") };
        let probabilistic = signature(&key, Algorithm::Ps256);
        assert!(verifies(&RSA_PSS_2048_8192_SHA256, pair.public_key().as_ref(), &probabilistic));
        assert_eq!(key.algorithm(None), Ok(Algorithm::Rs256));
    }
}

#[test]
fn elliptic_curves_sign_with_two_numbers_of_fixed_length() {
    for (form, algorithm, verification) in [
        (P256_SEC1, Algorithm::Es256, &ECDSA_P256_SHA256_FIXED),
        (P384_SEC1, Algorithm::Es384, &ECDSA_P384_SHA384_FIXED),
        (P384_PKCS8, Algorithm::Es384, &ECDSA_P384_SHA384_FIXED),
    ] {
        let key = read(form).unwrap();
        let (Kind::P256(pair) | Kind::P384(pair)) = &key.kind else { panic!("another kind") };
        assert!(verifies(verification, pair.public_key().as_ref(), &signature(&key, algorithm)), "{algorithm}");
        assert_eq!(key.algorithm(None), Ok(algorithm));
    }
}

#[test]
fn ed25519_signs_as_rfc_8037_has_it() {
    let key = r#"{"kty":"OKP","crv":"Ed25519","kid":"k1","d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",
        "x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
    let key = read(key).unwrap();
    let message = b"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
    let signed = encoded(&key.signature(Algorithm::EdDsa, message).unwrap());
    assert_eq!(signed, "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg");
    assert_eq!(key.id(), Some("k1"));
    assert_eq!(read(ED25519_PKCS8).unwrap().algorithm(None), Ok(Algorithm::EdDsa));
}

#[test]
fn a_json_web_key_signs_like_the_same_key_in_pem() {
    let rsa = read(RSA_JWK).unwrap();
    assert_eq!(signature(&rsa, Algorithm::Rs256), RSA_SIGNATURE);
    let curve = read(P256_JWK).unwrap();
    let Kind::P256(pair) = &read(P256_SEC1).unwrap().kind else { panic!("another kind") };
    assert!(verifies(&ECDSA_P256_SHA256_FIXED, pair.public_key().as_ref(), &signature(&curve, Algorithm::Es256)));
}

#[test]
fn a_secret_makes_a_code() {
    let key = SigningKey::of_secret(&Sensitive::new("hunter2"));
    // Computed with Python's hmac.
    assert_eq!(signature(&key, Algorithm::Hs256), HMAC);
    assert_eq!(key.algorithm(None), Ok(Algorithm::Hs256));
}

#[test]
fn a_key_signs_only_with_what_it_can() {
    let key = read(P256_SEC1).unwrap();
    let error = key.algorithm(Some(Algorithm::Rs256)).unwrap_err().to_string();
    assert_eq!(error, "is a key on P-256, which cannot sign with RS256; check signing_algorithm");
    assert!(key.signature(Algorithm::Hs256, MESSAGE).is_err());
}

#[test]
fn what_is_no_usable_key_says_what_it_is() {
    let without = |member: &str| {
        let mut key: Value = serde_json::from_str(RSA_JWK).unwrap();
        key.as_object_mut().unwrap().remove(member);
        key.to_string()
    };
    for (text, problem) in [
        (ENCRYPTED.to_owned(), "encrypted with a passphrase"),
        ("hunter2".to_owned(), "holds no private key"),
        (RSA_PKCS8.replace("MII", "AAA"), "private key"),
        ("{}".to_owned(), "no JSON Web Key"),
        (without("d"), "is a public key"),
        (without("p"), "lacks the members p, q"),
        (r#"{"kty":"EC","crv":"P-521","d":"","x":"","y":""}"#.to_owned(), "another kind"),
        (r#"{"kty":"OKP","crv":"Ed25519","d":"!","x":""}"#.to_owned(), "not base64url"),
    ] {
        let error = read(&text).unwrap_err();
        assert!(error.contains(problem), "{error}");
    }
}

#[test]
fn the_compact_form_is_that_of_rfc_7515() {
    let key = SigningKey::of_secret(&Sensitive::new("hunter2"));
    let part = |value: Value| match value {
        Value::Object(members) => members,
        _ => Map::new(),
    };
    let signed = sign(&key, Algorithm::Hs256, part(json!({ "typ": "JWT" })), &part(json!({ "iss": "me" }))).unwrap();
    let parts: Vec<_> = signed.split('.').collect();
    let decoded = |part: &str| serde_json::from_slice::<Value>(&BASE64URL.decode(part).unwrap()).unwrap();
    assert_eq!(
        (decoded(parts[0]), decoded(parts[1])),
        (json!({ "typ": "JWT", "alg": "HS256" }), json!({ "iss": "me" }))
    );
    let message = parts[..2].join(".");
    assert_eq!(parts[2], encoded(&key.signature(Algorithm::Hs256, message.as_bytes()).unwrap()));
    assert_eq!(format!("{key:?} {:?}", slice::from_ref(&key)), "SigningKey { .. } [SigningKey { .. }]");
}

proptest! {
    #[test]
    fn nothing_that_is_read_as_a_key_makes_it_panic(text in ".*", at in 0..RSA_PKCS8.len(), letter in "[A-Za-z0-9+/=]") {
        let _ = read(&text);
        let mut damaged = RSA_PKCS8.to_owned();
        damaged.replace_range(at..=at, &letter);
        if let Err(problem) = read(&damaged) {
            prop_assert!(!problem.contains("MII") && problem.len() < 200, "{}", problem);
        }
    }
}

const HMAC: &str = "sPf3vhgWb-KLT8rU3Baf4vWpdkdeVbkj7RV6ptlpUSo";
const RSA_SIGNATURE: &str = concat!(
    "priQAIPleBobgyLDTipeZdNZuebrKJd67VQxArkDxqeIupnEjau7KIsBfuS7DA7FnFGivg8oYp3MUBilK7MpX-22wJx6tfctQhzE",
    "oEaZuOs3k31A6YX-POzoTB0pRsDrHWTCE1v-oVkF3xmUg52hbUlPqvF9s_XXMg0L1a-HbOtiNJWg5NdatPanUjH7axjOzVZIv9hw",
    "EOuGIo1yDWdD8BM0XKs6IBTSbdB3Gzy5I_oMFn4B8_qUCSyMHXHgsfKRNcEP1BmFp_9ybogE-Gw73lT_OVVAXIXVEx9mBgsRck4N",
    "3TMWwqo5eAigBMfXcxZOv-py2-XOgYTFeoz0e8XrDA",
);
const RSA_PKCS8: &str = "\
-----BEGIN PRIVATE KEY-----
MIIEugIBADANBgkqhkiG9w0BAQEFAASCBKQwggSgAgEAAoIBAQCsT5o2fmfQMdPn
aRkenabs3qYXm0gdqYd0RbNXzzx3KZyKbHAaiOjEF1/lkmSPSnHNBzh3jr4QXLKs
diZzzmwHlzUCO3ymCpBt4UrlBRqjBCKtTjReduXt04HKJoXLJ6ezJzCUIgiyk6bp
RuyYiCRQ+BsH3q8LXNJ5VOKUUU7CvG05HxwKV7Jna62C0VZ3IMly3x0bFfOFMKT2
pUAzGjiOPrmIseL9OBCJDsduY9lWKoP6I+i7V1DYWeAleXwJRi7urjEhrfL3iRBL
z0D9meH8rEWcuLyQauvzUIXJ1GsMj3YlHzihM5bSKG+eOS1J72qn3i3gAdJQyZA+
468UFeXbAgMBAAECgf9oNxI44zrmhecj5EIibOIItqC9+6zM7pEo7FRhR3XKnIrm
gwSfsoPAFbhqS6AxCgAfgRPQkQS4i1gv9pr1xQ3m3rewzJ8XIvc3feCjo0f4+wdT
dM6M/lxnpa9aFEfXbKSA4QhV5Opdwe+xfLPxjRBp6E/GSBNBTA1VqiwKiHfvpAin
N6QteZAtHkSsfPIDsuwUngy3o3VgUab66qcqPv1sJkgR/KD1W6YWmB7Z5uQErW3f
fUaa0SsyPEq/Kfj1nk4fbkgu7+qewhw0a+RkiTdPfJUiyWACWRcsESiyyxu4oIrV
/lpJU0WBHTDwBD7gpNb78y3LoBdjLoerxtLBhQkCgYEA3cS/zR4wocwEL0fE12S7
HtrFDCvpbvhLRf7EXsDD03k2J6ICZdpVUqfS6IwBw3qC3hdyOACa6TN72dterZyn
DrcBnboC8+wDs4tFYmRKASmrGSXJmTiHbOKe6oeLXNXi3j5fB+o4A2C0Z0yIdZZA
M8SGUACMcn5/DRRqQS/Pz1MCgYEAxuiFZoTmLzhztbAECEyUEOr7Q1xDGVTF6M60
kfLq8Z4IyKaWFVa2v+XK0b9ZayO9gSbksw3Nlr5gqXQQP3o/5NkKbOml3vwTctvE
Z5YfwAKeJaX/Gk/N1mLTx7y3DM/GVho42f/9IjEpB/VO3VqVgM2lTnLvFfLoRa7K
LegdplkCgYB0/LFhdyeYcpNSjb2dEppTcHy6Kv/9diXfSsI0aePjzvFuftxc9oxE
ChwMaK8Ve69FkYDDYi5WDr6q8jpDw3utG4VSuymLm1logXOcr+MKMfz8Sx7KITPv
kKzcc5xk4L/JFYX0Gu5peb4xMAJcZWKA7I8d7OwqCejj8X0L3jj12QKBgB70WqZM
smHQ4Dj7LnV4LWbAmt+twQd1KOOFH5bC/gsh8+399sdVWlVc1oZzx9+jjT9HJTo0
QLVf5T0ZwdmPFdhwam3uopCkHAa46sTQGRrRjXkAb0XR+4+Mi7a+yKHmx8/ofsZ2
Txd+HQuPAnnyOef0mPAvdMOurLUDcZVZVRvpAoGADjZp+zMUUj3rhuJJa2zmZ4hu
Q/K6K3UaShqgU2Wl594jXi/pqxbUgYOBGrWkv20xGOv5bqNdBgFfA/aXGa1D793p
YnyW6SYPd0YEcI6b3ASYQTs6Ic/yhm8yknP2WbrpK1jsV4PkLDrflaKt5hbUHqB6
5J8EJxwItsQSe4JRmNk=
-----END PRIVATE KEY-----
";
const RSA_PKCS1: &str = "\
-----BEGIN RSA PRIVATE KEY-----
MIIEoAIBAAKCAQEArE+aNn5n0DHT52kZHp2m7N6mF5tIHamHdEWzV888dymcimxw
GojoxBdf5ZJkj0pxzQc4d46+EFyyrHYmc85sB5c1Ajt8pgqQbeFK5QUaowQirU40
Xnbl7dOByiaFyyensycwlCIIspOm6UbsmIgkUPgbB96vC1zSeVTilFFOwrxtOR8c
CleyZ2utgtFWdyDJct8dGxXzhTCk9qVAMxo4jj65iLHi/TgQiQ7HbmPZViqD+iPo
u1dQ2FngJXl8CUYu7q4xIa3y94kQS89A/Znh/KxFnLi8kGrr81CFydRrDI92JR84
oTOW0ihvnjktSe9qp94t4AHSUMmQPuOvFBXl2wIDAQABAoH/aDcSOOM65oXnI+RC
ImziCLagvfuszO6RKOxUYUd1ypyK5oMEn7KDwBW4akugMQoAH4ET0JEEuItYL/aa
9cUN5t63sMyfFyL3N33go6NH+PsHU3TOjP5cZ6WvWhRH12ykgOEIVeTqXcHvsXyz
8Y0QaehPxkgTQUwNVaosCoh376QIpzekLXmQLR5ErHzyA7LsFJ4Mt6N1YFGm+uqn
Kj79bCZIEfyg9VumFpge2ebkBK1t331GmtErMjxKvyn49Z5OH25ILu/qnsIcNGvk
ZIk3T3yVIslgAlkXLBEosssbuKCK1f5aSVNFgR0w8AQ+4KTW+/Mty6AXYy6Hq8bS
wYUJAoGBAN3Ev80eMKHMBC9HxNdkux7axQwr6W74S0X+xF7Aw9N5NieiAmXaVVKn
0uiMAcN6gt4XcjgAmukze9nbXq2cpw63AZ26AvPsA7OLRWJkSgEpqxklyZk4h2zi
nuqHi1zV4t4+XwfqOANgtGdMiHWWQDPEhlAAjHJ+fw0UakEvz89TAoGBAMbohWaE
5i84c7WwBAhMlBDq+0NcQxlUxejOtJHy6vGeCMimlhVWtr/lytG/WWsjvYEm5LMN
zZa+YKl0ED96P+TZCmzppd78E3LbxGeWH8ACniWl/xpPzdZi08e8twzPxlYaONn/
/SIxKQf1Tt1alYDNpU5y7xXy6EWuyi3oHaZZAoGAdPyxYXcnmHKTUo29nRKaU3B8
uir//XYl30rCNGnj487xbn7cXPaMRAocDGivFXuvRZGAw2IuVg6+qvI6Q8N7rRuF
Urspi5tZaIFznK/jCjH8/EseyiEz75Cs3HOcZOC/yRWF9BruaXm+MTACXGVigOyP
HezsKgno4/F9C9449dkCgYAe9FqmTLJh0OA4+y51eC1mwJrfrcEHdSjjhR+Wwv4L
IfPt/fbHVVpVXNaGc8ffo40/RyU6NEC1X+U9GcHZjxXYcGpt7qKQpBwGuOrE0Bka
0Y15AG9F0fuPjIu2vsih5sfP6H7Gdk8Xfh0LjwJ58jnn9JjwL3TDrqy1A3GVWVUb
6QKBgA42afszFFI964biSWts5meIbkPyuit1GkoaoFNlpefeI14v6asW1IGDgRq1
pL9tMRjr+W6jXQYBXwP2lxmtQ+/d6WJ8lukmD3dGBHCOm9wEmEE7OiHP8oZvMpJz
9lm66StY7FeD5Cw635WireYW1B6geuSfBCccCLbEEnuCUZjZ
-----END RSA PRIVATE KEY-----
";
const P256_SEC1: &str = "\
-----BEGIN EC PRIVATE KEY-----
MHcCAQEEIDGYj2x7DokWzK1W6qVFc/w1L1VH9mLGpOFviFZ5ZDOVoAoGCCqGSM49
AwEHoUQDQgAE8tyQFu42c6105em2Knw8PQ30hPaAIBHw7ldSs/QjzolIsMlTyM9n
lzBqsCt99e7/cD0F600+ePOEw68RFpjF3A==
-----END EC PRIVATE KEY-----
";
const P384_SEC1: &str = "\
-----BEGIN EC PRIVATE KEY-----
MIGkAgEBBDA4ljgKlQs2k6h2EsTxOs6dPVtimV9srGsWgYYA1dhQtY4GIKfQZCx4
DrKxYA3zngmgBwYFK4EEACKhZANiAASPYqP2FdmDAYUItXnDErAoToIniS7AwVhs
AwATtf0+kixuNe6HVIFsPrpXY1Rcj5NiPC0RUtBvz0vkII2hf4XbRBKWRuabTpWJ
2UE+0VbOjC6YWeZaAxx+QUAmz5pmiVU=
-----END EC PRIVATE KEY-----
";
const P384_PKCS8: &str = "\
-----BEGIN PRIVATE KEY-----
MIG2AgEAMBAGByqGSM49AgEGBSuBBAAiBIGeMIGbAgEBBDAhzxe09JZ4x0RKz7/3
vGj+AM9V7PoqP+7OYQwRZOfxuVQptAF49DuIltwDx9tZbHahZANiAASLQ+ARoL0G
m3Pi1WS/yGfnioUp/zVmiGMHMvKjhlyrdfahCFNGo7jJHanNisHh1JM9Z8z0403L
zUhyT25CxOyGRLFh3MMndWnWrGV/gypayhIlgyW7xtaOiB2azi7e8qU=
-----END PRIVATE KEY-----
";
const ED25519_PKCS8: &str = "\
-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIMrEDvsMJngkhB08Cnn11KVZ3dcWGNrPN0PV2dBlty08
-----END PRIVATE KEY-----
";
const ENCRYPTED: &str = "\
-----BEGIN ENCRYPTED PRIVATE KEY-----
MIIFHTBXBgkqhkiG9w0BBQ0wSjApBgkqhkiG9w0BBQwwHAQI3Ga1IQVUH9ECAggA
MAwGCCqGSIb3DQIJBQAwHQYJYIZIAWUDBAEqBBC2KW1Irhg4/8heAeG3R17jBIIE
wDzi4Jl6fxRD8cx2dfEqrM2SrGn0yL1gWZK4Jniz0Wmrqz4oLKAjHigI0PG2Vihf
Ceu8AeEi36zNofAyOb2j2h4Dfm1uw/njOI9ypLJDyh2kl9Ks0Ppejki7xYK0cdhG
6AsW5DB5XhVSSvnfm0q7UOi/wdqjv6g9qELSEYgiVowDWp0lFuL++pIiLdkY7dic
/rDfTpZWJOE43EOOr6wGco+P4jqVD4uHb0DJ4V0Bq6dE0R7H3o46laBGPOg+2FVS
Wi9JrvYQo3aSzlrtiAOuFX2yMQKX+QkdO8vjwKUdVIPsOSZ1+qTzwpdjI7lSOm7O
phWPz/Eu1IidMsqLlBysWaLBPKmC/UePfzCxtpX9dKyjHSTR1H0VqsZtINdRKU0m
38iLOCBeac+wLJOY+gPmhErs5sy+Wj+GjEhqCr2W1T3CJqeOAgJMdKRlE2Dc0RX/
fLh/R4Bn3wQHyi8pqZM98F+Cb+BC8cJ27uzLn/UezT4H0mTXqmJhPyxKfpA7kEr8
wXwaUM75S6tVzRY4de4ym7LCXJlcY+gpEcYrtq88OrKoAkNoVNwLl6/Hhr4yAr70
Z65cp+7Ns413EoSj4ZKCNn/rauFH5qEHaZh74jWjtmMUb7znA4wiHkXUHYaTLNw1
1FpG70GoUwixH0IU/uFcGg4VD8qSe2xPtxFyYny5oZ3yqxcBM0lsu/aHo9469Yjx
YNTXYjJZcLOPYyCjnmIbN5eIsxvJ7V5G1XxCaSk21RFuO/edSPoVaQ7coszDw4aL
Ru/Bv8YOM13Uzh+O+LF/W9XYobIFlboxJkwcm+203V7WzYjJBVu7tWJKwki7LONg
ExWwoJbIUBLLi5ozQGL5a6YHpcaQedFaPCs6Afc/jwEclpnbqy4U9QfV7X0ushnG
zssOSMVBA7/Idmuc/KqqVouM/GlHbP5hRz6Hq/yakQzBiRzuGXK3sQx0bCR59dwO
/NmeuZTDzvP9j/BVxpvGbyRNstlf3XkT8zl0KMXqBPyRaqW5ccrp8bs/hFshPMYm
8NO0zAp1a+MSWgWCEtkk9qJDgpsiWgikbbs6i5K5LPjjrO2O+aqkPgi/WLU958Mt
ByqKqxPGltxG4EHFc1yXrETaG0HavZcig6gOgQpfflYZBOax7Kgt3SLLG4gmy8j7
nxayFqTrYxJ+7JEevrg5K0/+rgFt/YzpstIdAmSRVXtvAN8VMB9GGwKt/DPWUpcO
ZfLaJJ4ljkK/VJq6hVN/JqeqG9Vv5ChTWP0Wo6moGJjerxJobJzQ2EFItPWcZ3Sq
LrT3UudIr+8bwg4+NCchf3Am0FMkmeau9oj8pRg2p6XVCfhtl6FSXcCgFKEbhJnM
X+HAuM1ErRMMrdKonYIoRazxhMQMRBWUFvsmJk4AzOiefuBg4Rtnon3CXYGmpSli
DfylY//FkQQ8dtTIvQCeuStTrVJXTsACT1JDHydN9IJUDhBYUizYR7OUOcF2InZ9
0Met0KjZDlP40D4p71agu/eXLJWCtoJDrGxlj0yP2cWG0eUuHYhbGWDY35S4yrGb
1oHtE+Hy2Pq/WujeCb+aNR+Qg+7drbDdkD1ZDfDvYgioPESOdcIfQqrzKm+HVN22
SIZlNTJGIFkU9XjeCHYqy2M=
-----END ENCRYPTED PRIVATE KEY-----
";
const RSA_JWK: &str = r#"{"kty":"RSA",
"e":"AQAB",
"n":"rE-aNn5n0DHT52kZHp2m7N6mF5tIHamHdEWzV888dymcimxwGojoxBdf5ZJkj0pxzQc4d46-EFyyrHYmc85sB5c1Ajt8pgqQbeFK5QUaowQirU40Xnbl7dOByiaFyyensycwlCIIspOm6UbsmIgkUPgbB96vC1zSeVTilFFOwrxtOR8cCleyZ2utgtFWdyDJct8dGxXzhTCk9qVAMxo4jj65iLHi_TgQiQ7HbmPZViqD-iPou1dQ2FngJXl8CUYu7q4xIa3y94kQS89A_Znh_KxFnLi8kGrr81CFydRrDI92JR84oTOW0ihvnjktSe9qp94t4AHSUMmQPuOvFBXl2w",
"d":"aDcSOOM65oXnI-RCImziCLagvfuszO6RKOxUYUd1ypyK5oMEn7KDwBW4akugMQoAH4ET0JEEuItYL_aa9cUN5t63sMyfFyL3N33go6NH-PsHU3TOjP5cZ6WvWhRH12ykgOEIVeTqXcHvsXyz8Y0QaehPxkgTQUwNVaosCoh376QIpzekLXmQLR5ErHzyA7LsFJ4Mt6N1YFGm-uqnKj79bCZIEfyg9VumFpge2ebkBK1t331GmtErMjxKvyn49Z5OH25ILu_qnsIcNGvkZIk3T3yVIslgAlkXLBEosssbuKCK1f5aSVNFgR0w8AQ-4KTW-_Mty6AXYy6Hq8bSwYUJ",
"p":"3cS_zR4wocwEL0fE12S7HtrFDCvpbvhLRf7EXsDD03k2J6ICZdpVUqfS6IwBw3qC3hdyOACa6TN72dterZynDrcBnboC8-wDs4tFYmRKASmrGSXJmTiHbOKe6oeLXNXi3j5fB-o4A2C0Z0yIdZZAM8SGUACMcn5_DRRqQS_Pz1M",
"q":"xuiFZoTmLzhztbAECEyUEOr7Q1xDGVTF6M60kfLq8Z4IyKaWFVa2v-XK0b9ZayO9gSbksw3Nlr5gqXQQP3o_5NkKbOml3vwTctvEZ5YfwAKeJaX_Gk_N1mLTx7y3DM_GVho42f_9IjEpB_VO3VqVgM2lTnLvFfLoRa7KLegdplk",
"dp":"dPyxYXcnmHKTUo29nRKaU3B8uir__XYl30rCNGnj487xbn7cXPaMRAocDGivFXuvRZGAw2IuVg6-qvI6Q8N7rRuFUrspi5tZaIFznK_jCjH8_EseyiEz75Cs3HOcZOC_yRWF9BruaXm-MTACXGVigOyPHezsKgno4_F9C9449dk",
"dq":"HvRapkyyYdDgOPsudXgtZsCa363BB3Uo44UflsL-CyHz7f32x1VaVVzWhnPH36ONP0clOjRAtV_lPRnB2Y8V2HBqbe6ikKQcBrjqxNAZGtGNeQBvRdH7j4yLtr7IoebHz-h-xnZPF34dC48CefI55_SY8C90w66stQNxlVlVG-k",
"qi":"DjZp-zMUUj3rhuJJa2zmZ4huQ_K6K3UaShqgU2Wl594jXi_pqxbUgYOBGrWkv20xGOv5bqNdBgFfA_aXGa1D793pYnyW6SYPd0YEcI6b3ASYQTs6Ic_yhm8yknP2WbrpK1jsV4PkLDrflaKt5hbUHqB65J8EJxwItsQSe4JRmNk"}"#;
const P256_JWK: &str = r#"{"kty":"EC","crv":"P-256","d":"MZiPbHsOiRbMrVbqpUVz_DUvVUf2Ysak4W-IVnlkM5U","x":"8tyQFu42c6105em2Knw8PQ30hPaAIBHw7ldSs_Qjzok","y":"SLDJU8jPZ5cwarArffXu_3A9BetNPnjzhMOvERaYxdw"}"#;
