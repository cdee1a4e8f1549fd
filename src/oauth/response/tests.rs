//! One test for each row of the table of quirks that concerns this grant, and properties that hold for any input.

use std::{
    io::Write as _,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use flate2::{Compression, write::GzEncoder};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::{oauth::settings::tests::settings, sensitive::Sensitive};

/// 2026-01-02T03:04:05Z.
const NOW: u64 = 1_767_323_045;
const NOW_AS_DATE: &str = "Fri, 02 Jan 2026 03:04:05 GMT";
const SECRET: &str = "hunter2/+ x";

fn wall(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

fn answer(status: u16, body: &[u8]) -> Answer<'_> {
    Answer {
        status,
        content_type: Some("application/json"),
        content_encoding: None,
        date: Some(NOW_AS_DATE),
        retry_after: None,
        location: None,
        body,
        sent: wall(NOW - 1),
        received: wall(NOW),
    }
}

fn judge_with(answer: &Answer<'_>, settings: &Settings) -> Result<Issued, Failure> {
    let secret = Sensitive::new(SECRET);
    let redactor = Redactor::new(&settings.client_id, &[&secret]);
    let outcome = parse(answer, &Expectations::new(settings, settings.place.url(), &redactor));
    if let Err(failure) = &outcome {
        assert!(!failure.text.chars().any(char::is_control) && failure.text.len() < 1_500, "{failure}");
    }
    outcome
}

fn judge(answer: &Answer<'_>) -> Result<Issued, Failure> {
    judge_with(answer, &settings())
}

fn ok(body: &str) -> Issued {
    judge(&answer(200, body.as_bytes())).unwrap_or_else(|failure| panic!("{body}: {failure}"))
}

fn bad(status: u16, body: &str) -> Failure {
    judge(&answer(status, body.as_bytes())).expect_err(body)
}

fn expires_in(value: &str) -> (Option<u64>, usize) {
    let issued = ok(&format!(r#"{{"access_token":"t","token_type":"Bearer","expires_in":{value}}}"#));
    (issued.expires_in.map(|life| life.as_secs()), issued.oddities.len())
}

fn with(fields: Value) -> String {
    let mut answer = json!({ "access_token": "t", "token_type": "Bearer" });
    let all = answer.as_object_mut().unwrap();
    let Value::Object(fields) = fields else { panic!("not an object") };
    all.extend(fields);
    answer.to_string()
}

fn jwt(exp: u64) -> String {
    format!("eyJhbGciOiJSUzI1NiJ9.{}.c2ln", URL_SAFE_NO_PAD.encode(json!({ "exp": exp }).to_string()))
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

fn odd(issued: &Issued, part: &str) -> bool {
    issued.oddities.iter().any(|oddity| oddity.contains(part))
}

#[test]
fn the_plain_answer_of_rfc_6749_has_nothing_odd() {
    let issued = ok(r#"{"access_token":"2YotnFZFEjr1zCsicMWpAA","token_type":"Bearer","expires_in":3600}"#);
    assert_eq!(issued.value.expose(), "2YotnFZFEjr1zCsicMWpAA");
    assert_eq!((&*issued.token_type, issued.scope, issued.secret_in_use), ("Bearer", None, 0));
    assert_eq!((issued.expires_in, issued.jwt_lifetime), (Some(Duration::from_secs(3_600)), None));
    assert_eq!((issued.refresh_in, issued.oddities), (None, vec![]));
}

#[test]
fn row_entra_v1_netsuite_paypal_expires_in_is_a_string() {
    for value in ["3599", r#""3599""#, "3599.0", r#""3599.0""#, r#"" 3599 ""#, r#""3599\n""#, "3.599e3", r#""+3599""#] {
        assert_eq!(expires_in(value), (Some(3_599), 0), "{value}");
    }
}

#[test]
fn row_salesforce_has_no_expires_in_and_extra_fields() {
    let issued =
        ok(r#"{"access_token":"00D!AQ","instance_url":"https://x.my.salesforce.com","id":"https://login/id/1",
            "token_type":"Bearer","issued_at":"1767323045000","signature":"c2ln="}"#);
    assert_eq!((issued.expires_in, issued.oddities), (None, vec![]));
}

#[test]
fn row_any_missing_null_zero_or_negative_is_unknown() {
    assert_eq!(expires_in("null"), (None, 0));
    for value in
        ["0", "-1", r#""0""#, "-0.5", r#""""#, r#""soon""#, r#""nan""#, r#""inf""#, "true", "[3600]", "{\"s\":1}"]
    {
        assert_eq!(expires_in(value), (None, 1), "{value}");
    }
}

#[test]
fn row_any_huge_lifetimes_saturate() {
    for value in ["99999999999999999999999999", "1e300", r#""1e300""#, "18446744073709551615", r#""999999999999999""#] {
        assert_eq!(expires_in(value), (Some(1_000_000_000_000), 0), "{value}");
    }
}

#[test]
fn row_adobe_expires_in_is_in_milliseconds() {
    let settings = Settings { expires_in_unit: LifetimeUnit::Milliseconds, ..settings() };
    for value in [json!(86_399_999), json!("86399999")] {
        let body = with(json!({ "expires_in": value }));
        let issued = judge_with(&answer(200, body.as_bytes()), &settings).unwrap();
        assert_eq!(issued.expires_in, Some(Duration::from_millis(86_399_999)));
    }
}

#[test]
fn row_entra_managed_identity_expires_on_in_all_notations() {
    let settings = Settings { expires_at_field: Some("expires_on".into()), ..settings() };
    for point in [
        json!(NOW + 600),
        json!((NOW + 600).to_string()),
        json!((NOW + 600) * 1_000),
        json!("01/02/2026 03:14:05"),
        json!("1/2/2026 3:14:05 AM +00:00"),
        json!("2026-01-02T03:14:05Z"),
        json!("2026-01-02T04:14:05.000+01:00"),
    ] {
        let body = with(json!({ "expires_on": point }));
        let issued = judge_with(&answer(200, body.as_bytes()), &settings).unwrap();
        assert_eq!((issued.expires_in, issued.oddities), (Some(Duration::from_secs(600)), vec![]), "{point}");
    }
    let body = with(json!({ "expires_on": NOW + 600, "expires_in": 900 }));
    let issued = judge_with(&answer(200, body.as_bytes()), &settings).unwrap();
    assert_eq!(issued.expires_in, Some(Duration::from_secs(900)), "only a fallback");
    let body = with(json!({ "expires_on": NOW - 600 }));
    let issued = judge_with(&answer(200, body.as_bytes()), &settings).unwrap();
    assert_eq!(issued.expires_in, Some(Duration::ZERO), "dead on arrival is not unknown");
    let body = with(json!({ "expires_on": 3_600 }));
    let issued = judge_with(&answer(200, body.as_bytes()), &settings).unwrap();
    assert!(issued.expires_in.is_none() && odd(&issued, "expires_on is 3600, which is no point in time"));
    assert_eq!(ok(&with(json!({ "expires_on": NOW + 600 }))).expires_in, None, "only when asked for");
}

#[test]
fn row_entra_refresh_in_is_a_hint_and_ext_expires_in_is_ignored() {
    for hint in [json!(1_800), json!("1800"), json!(1_800.0)] {
        let issued = ok(&with(json!({ "expires_in": 3_599, "ext_expires_in": 86_400, "refresh_in": hint })));
        assert_eq!(issued.refresh_in, Some(Duration::from_secs(1_800)));
        assert_eq!((issued.expires_in, issued.oddities), (Some(Duration::from_secs(3_599)), vec![]));
    }
    assert_eq!(ok(&with(json!({ "refresh_in": -1 }))).refresh_in, None);
}

#[test]
fn row_shopify_linkedin_foursquare_token_type_is_missing() {
    for body in [
        r#"{"access_token":"t"}"#,
        r#"{"access_token":"t","token_type":null}"#,
        r#"{"access_token":"t","token_type":" "}"#,
    ] {
        let issued = ok(body);
        assert_eq!(&*issued.token_type, "Bearer");
        assert!(odd(&issued, "token_type is missing"), "{:?}", issued.oddities);
    }
}

#[test]
fn row_apigee_bearertoken_and_numbers_as_strings() {
    for told in ["BearerToken", "bearer", "BEARER", "Bearer ", "bearertoken"] {
        let issued = ok(&with(json!({
            "token_type": told, "expires_in": "3599", "status": "approved", "client_id": "acme",
            "issued_at": "1767323045000",
        })));
        assert_eq!((&*issued.token_type, issued.oddities.len()), ("Bearer", 0), "{told}");
        assert_eq!(issued.expires_in, Some(Duration::from_secs(3_599)));
    }
}

#[test]
fn row_apigee_the_configured_scheme_wins() {
    let settings = Settings { token_type: Some("Token".into()), ..settings() };
    for body in [r#"{"access_token":"t"}"#, r#"{"access_token":"t","token_type":"mac"}"#] {
        let issued = judge_with(&answer(200, body.as_bytes()), &settings).unwrap();
        assert_eq!((&*issued.token_type, issued.oddities.len()), ("Token", 0));
    }
}

#[test]
fn row_dpop_other_schemes_are_kept_and_noted() {
    for told in ["DPoP", "mac", "N_A"] {
        let issued = ok(&with(json!({ "token_type": told })));
        assert_eq!(&*issued.token_type, told);
        assert!(odd(&issued, &format!("token_type is {told}")));
    }
    for told in ["urn:ietf:params:oauth:token-type:access_token", "Bearer token", "Bearer\r\nX: 1", &"x".repeat(41)] {
        let issued = ok(&with(json!({ "token_type": told })));
        assert!(&*issued.token_type == "Bearer" && odd(&issued, "is no scheme"), "{told}");
    }
}

#[test]
fn row_marketo_the_shrinking_expires_in_is_taken_as_it_is() {
    assert_eq!(expires_in("3"), (Some(3), 0));
    assert_eq!(expires_in("0.5").0, Some(0));
    assert_eq!(ok(&with(json!({ "expires_in": 0.5 }))).expires_in, Some(Duration::from_millis(500)));
}

#[test]
fn row_zoho_access_denied_is_a_throttle() {
    let description = "You have made too many requests continuously.";
    let body = json!({ "error": "Access Denied", "error_description": description, "status": "failure" });
    for status in [200, 400] {
        let text =
            format!("HTTP {status}, Access Denied: {description} (too many token requests; see budget and idle_after)");
        assert_eq!(bad(status, &body.to_string()), Failure::new(FailureKind::Busy, text).throttled(true));
    }
    for (status, code) in [(401, "Access Denied"), (403, "Access Denied"), (400, "access_denied")] {
        let failure = bad(status, &json!({ "error": code }).to_string());
        assert_eq!((failure.kind, failure.throttled), (FailureKind::Refused, false), "{status} {code}");
    }
}

#[test]
fn row_feishu_an_answer_with_another_field_names_the_fields_but_no_value() {
    let failure = bad(200, r#"{"code":0,"msg":"ok","tenant_access_token":"t-opaque","expire":7200}"#);
    assert_eq!(failure.kind, FailureKind::Malformed);
    assert!(failure.text.contains("(code, msg, tenant_access_token, expire)"), "{failure}");
    assert!(!failure.text.contains("t-opaque"));
}

#[test]
fn row_entra_429_with_retry_after_and_a_plain_body() {
    let throttled =
        Answer { content_type: Some("text/plain"), retry_after: Some("60"), ..answer(429, b"Too many requests\n") };
    let failure = judge(&throttled).unwrap_err();
    let expected = Failure::new(FailureKind::Busy, "HTTP 429: Too many requests");
    assert_eq!(failure, expected.retry_after(Some(Duration::from_secs(60))).throttled(true));
}

#[test]
fn row_soundcloud_zus_429_without_retry_after() {
    let failure = bad(429, "");
    assert_eq!(failure, Failure::new(FailureKind::Busy, "HTTP 429 with an empty body").throttled(true));
}

#[test]
fn row_okta_with_dpop_is_refused_with_the_reason() {
    let body = r#"{"error":"use_dpop_nonce","error_description":"Authorization server requires nonce in DPoP proof."}"#;
    let failure = bad(400, body);
    assert_eq!(failure.kind, FailureKind::Refused);
    assert!(
        failure.text.contains("use_dpop_nonce: Authorization server requires")
            && failure.text.contains("set dpop = true")
    );
}

#[test]
fn row_okta_org_server_unsupported_method_is_refused() {
    let failure = bad(
        401,
        r#"{"error":"invalid_client","error_description":"Client Credentials requests must use private_key_jwt."}"#,
    );
    assert_eq!(failure.kind, FailureKind::Refused);
    assert!(
        failure
            .text
            .starts_with("HTTP 401, invalid_client: Client Credentials requests must use private_key_jwt. (check")
    );
}

#[test]
fn row_cloudflare_mcp_a_stray_401_is_a_refusal_without_a_wait() {
    let failure = bad(401, r#"{"error":"invalid_client"}"#);
    assert_eq!((failure.kind, failure.retry_after, failure.throttled), (FailureKind::Refused, None, false));
    assert_eq!(&*failure.text, "HTTP 401, invalid_client (check client_id, client_secret and auth_method)");
}

#[test]
fn row_several_an_error_object_in_http_200_comes_first() {
    let kind = |body: &str| bad(200, body).kind;
    assert_eq!(kind(r#"{"error":"invalid_client","access_token":"t"}"#), FailureKind::Refused);
    assert_eq!(kind(r#"{"access_token":"t","error":"whatever"}"#), FailureKind::Refused);
    assert_eq!(kind(r#"{"access_token":"t","error":{"code":1}}"#), FailureKind::Refused);
    assert_eq!(kind(r#"{"error":"server_error"}"#), FailureKind::Busy);
    assert_eq!(kind(r#"{"error":"Temporarily_Unavailable"}"#), FailureKind::Busy);
    for nothing in ["null", r#""""#, "false", "{}", "[]", "0"] {
        assert_eq!(ok(&with(serde_json::from_str(&format!(r#"{{"error":{nothing}}}"#)).unwrap())).value.expose(), "t");
    }
}

#[test]
fn row_several_an_empty_200_is_malformed() {
    for body in ["", " \r\n", "{}", "\u{feff}"] {
        assert_eq!(bad(200, body).kind, FailureKind::Malformed, "{body:?}");
    }
    assert_eq!(&*bad(200, "").text, "HTTP 200 with an empty body");
    for token in [r#""""#, r#"" ""#, "null", "12345", "[]", r#"{"a":1}"#] {
        let failure = bad(200, &format!(r#"{{"access_token":{token},"expires_in":3600}}"#));
        assert_eq!(failure.kind, FailureKind::Malformed, "{token}");
        assert!(!failure.text.contains("12345"));
    }
}

#[test]
fn row_some_a_form_or_text_plain_answer() {
    let form = b"access_token=a%2Bb&expires_in=3600&scope=x+y&token_type=bearer";
    for content_type in [Some("application/x-www-form-urlencoded; charset=utf-8"), Some("text/plain"), None] {
        let issued = judge(&Answer { content_type, ..answer(200, form) }).unwrap();
        assert_eq!((issued.value.expose(), &*issued.token_type), ("a+b", "Bearer"), "{content_type:?}");
        assert_eq!((issued.scope.as_deref(), issued.expires_in), (Some("x y"), Some(Duration::from_secs(3_600))));
    }
    let failed =
        Answer { content_type: Some("text/plain"), ..answer(400, b"error=invalid_scope&error_description=no+way") };
    assert_eq!(&*judge(&failed).unwrap_err().text, "HTTP 400, invalid_scope: no way (check scope)");
}

#[test]
fn row_some_json_is_read_whatever_the_content_type() {
    for content_type in [Some("text/html"), Some("application/x-www-form-urlencoded"), Some("\u{0}"), None] {
        let issued = judge(&Answer { content_type, ..answer(200, b"\n {\"access_token\":\"t\"}\n") });
        assert_eq!(issued.unwrap().value.expose(), "t", "{content_type:?}");
    }
}

#[test]
fn row_some_html_and_other_texts_are_no_answer_and_are_not_quoted() {
    for (body, part) in [
        ("<!doctype html><p>opaque", "HTML page"),
        ("opaque", "neither"),
        ("[\"opaque\"]", "neither"),
        ("{\"opaque\"", "broken JSON"),
    ] {
        let failure = bad(200, body);
        assert_eq!(failure.kind, FailureKind::Malformed);
        assert!(failure.text.contains(part) && !failure.text.contains("opaque"), "{failure}");
    }
}

#[test]
fn row_snowflake_akamai_gzip_with_and_without_the_header() {
    let packed = gzip(r#"{"access_token":"t","expires_in":3600}"#);
    for content_encoding in [Some("gzip"), Some("x-gzip"), None] {
        assert_eq!(judge(&Answer { content_encoding, ..answer(200, &packed) }).unwrap().value.expose(), "t");
    }
    let unpacked = Answer { content_encoding: Some("gzip"), ..answer(200, br#"{"access_token":"t"}"#) };
    assert_eq!(judge(&unpacked).unwrap().value.expose(), "t", "the header lies");
    let failed = gzip(r#"{"error":"invalid_client"}"#);
    assert_eq!(judge(&answer(401, &failed)).unwrap_err().kind, FailureKind::Refused);
    let bomb = gzip(&" ".repeat(20 * 1024 * 1024));
    assert!(bomb.len() < 64 * 1024);
    assert!(judge(&answer(200, &bomb)).unwrap_err().text.contains("unpacks to more than 1 MiB"));
    assert_eq!(judge(&answer(503, &bomb)).unwrap_err().kind, FailureKind::Busy, "the status still counts");
    let damaged = judge(&answer(200, packed.get(..packed.len() / 2).unwrap())).unwrap_err();
    assert!(damaged.kind == FailureKind::Malformed && damaged.text.contains("damaged gzip"), "{damaged}");
    let brotli = Answer { content_encoding: Some("br"), ..answer(200, b"\x8b\x02\x80") };
    assert!(judge(&brotli).unwrap_err().text.contains("Content-Encoding: br, which was not asked for"));
}

#[test]
fn row_some_one_byte_order_mark_is_stripped() {
    assert_eq!(ok("\u{feff}{\"access_token\":\"t\"}").value.expose(), "t");
    let packed = gzip("\u{feff}{\"access_token\":\"t\"}");
    assert_eq!(judge(&answer(200, &packed)).unwrap().value.expose(), "t");
    assert_eq!(bad(200, "\u{feff}\u{feff}{\"access_token\":\"t\"}").kind, FailureKind::Malformed);
}

#[test]
fn row_some_a_token_with_invalid_utf_8_or_control_characters_is_malformed() {
    let failure = judge(&answer(200, b"{\"access_token\":\"a\xffb\"}")).unwrap_err();
    assert!(failure.kind == FailureKind::Malformed && failure.text.contains("not UTF-8"));
    for token in ["a b", " t", "t\\n", "a\\u0000b", "t\u{e4}", "a\\u007f", "\\ud83d\\ude00"] {
        let failure = bad(200, &format!(r#"{{"access_token":"{token}"}}"#));
        assert_eq!(failure.kind, FailureKind::Malformed, "{token}");
    }
    let form = Answer { content_type: None, ..answer(200, b"access_token=a%FFb") };
    assert_eq!(judge(&form).unwrap_err().kind, FailureKind::Malformed);
}

#[test]
fn row_django_a_redirect_names_the_place_and_nothing_secret() {
    let redirect = |location| judge(&Answer { location, ..answer(301, b"") }).unwrap_err();
    let failure = redirect(Some("/oauth2/token/?client_secret=hunter2#frag"));
    assert_eq!(failure.kind, FailureKind::Malformed);
    assert_eq!(
        &*failure.text,
        "HTTP 301 to https://issuer.example/oauth2/token/; redirects are not followed: set token_url to \
         https://issuer.example/oauth2/token/ if that is the token endpoint"
    );
    let failure = redirect(Some("https://me:pass@other.example:8443/login?x=1"));
    assert!(failure.text.contains("to https://other.example:8443/login;") && !failure.text.contains("pass"));
    assert!(redirect(Some("http://issuer.example/t")).text.ends_with("check token_url (the redirect leaves https)"));
    for unusable in [None, Some("data:text/plain,hunter2"), Some("http://["), Some("javascript:alert(1)")] {
        let text = redirect(unusable).text;
        assert!(text.contains("without a usable Location") && !text.contains("hunter2"), "{text}");
    }
    assert!(!redirect(Some("/hunter2%2F+%20x/hunter2%2F%2B%20x")).text.contains("hunter2%2F%2B%20x"));
}

#[test]
fn row_some_jwt_exp_earlier_than_expires_in() {
    let issued = ok(&with(json!({ "access_token": jwt(NOW + 900), "expires_in": 3_600 })));
    assert_eq!(issued.jwt_lifetime, Some(Duration::from_secs(900)));
    assert!(odd(&issued, "JWT exp) comes after 900 s, expires_in says 3600 s"), "{:?}", issued.oddities);
    let issued = ok(&with(json!({ "access_token": jwt(NOW + 3_599), "expires_in": 3_600 })));
    assert_eq!(issued.oddities, [], "rounding is not odd");
    let issued = ok(&with(json!({ "access_token": jwt(NOW - 1) })));
    assert_eq!(issued.jwt_lifetime, Some(Duration::ZERO));
}

#[test]
fn row_some_jwt_exp_is_measured_by_the_issuers_clock() {
    let body = with(json!({ "access_token": jwt(NOW + 900) }));
    let life = |date, received| {
        let answer = Answer { date, sent: wall(received), received: wall(received), ..answer(200, body.as_bytes()) };
        let issued = judge(&answer).unwrap();
        (issued.jwt_lifetime.map(|life| life.as_secs()), issued.oddities.join("; "))
    };
    let (lifetime, oddities) = life(Some(NOW_AS_DATE), NOW - 500);
    assert!(lifetime == Some(900) && oddities.contains("500 s ahead of this machine's"), "{oddities}");
    let (lifetime, oddities) = life(Some(NOW_AS_DATE), NOW + 31);
    assert!(lifetime == Some(900) && oddities.contains("31 s behind this machine's"), "{oddities}");
    assert_eq!(life(Some(NOW_AS_DATE), NOW - 30), (Some(900), String::new()));
    assert_eq!(life(None, NOW - 100), (Some(1_000), String::new()));
    assert_eq!(life(Some("yesterday"), NOW), (Some(900), String::new()));
    assert_eq!(life(Some("Thu, 01 Jan 1970 00:00:00 GMT"), NOW), (Some(900), String::new()));
}

#[test]
fn row_keycloak_refresh_tokens_and_policy_fields_are_ignored() {
    let issued = ok(&with(json!({
        "expires_in": 300, "refresh_expires_in": 1_800, "refresh_token": jwt(NOW + 1), "not-before-policy": 0,
        "session_state": "s", "id_token": jwt(NOW + 1),
    })));
    assert_eq!((issued.value.expose(), issued.expires_in), ("t", Some(Duration::from_secs(300))));
    assert_eq!((issued.jwt_lifetime, issued.oddities), (None, vec![]));
}

#[test]
fn a_different_scope_is_noted() {
    let settings = Settings { scope: Some("a b".into()), ..settings() };
    for (granted, oddities) in [("a b", 0), ("b a", 0), ("b,a", 0), ("a", 1), ("a b c", 1), ("", 0)] {
        let body = with(json!({ "scope": granted }));
        let issued = judge_with(&answer(200, body.as_bytes()), &settings).unwrap();
        assert_eq!(issued.oddities.len(), oddities, "{granted}");
        assert_eq!(issued.scope.as_deref().unwrap_or_default(), granted);
    }
    assert_eq!(ok(&with(json!({ "scope": "a" }))).scope.as_deref(), Some("a"));
    let issued = ok(&with(json!({ "scope": "a\nb" })));
    assert!(issued.scope.is_none() && odd(&issued, "scope is unreadable"));
}

#[test]
fn of_repeated_fields_the_last_wins() {
    let issued = ok(r#"{"access_token":"one","expires_in":1,"access_token":"two","expires_in":2}"#);
    assert_eq!((issued.value.expose(), issued.expires_in), ("two", Some(Duration::from_secs(2))));
}

#[test]
fn deep_nesting_does_not_overflow_the_stack() {
    let deep = "[".repeat(200_000) + &"]".repeat(200_000);
    assert_eq!(ok(&format!(r#"{{"access_token":"t","x":{deep}}}"#)).value.expose(), "t");
    assert_eq!(ok(&format!(r#"{{"access_token":"t","scope":{deep}}}"#)).scope, None);
    assert_eq!(bad(200, &"{\"a\":".repeat(200_000)).kind, FailureKind::Malformed);
}

#[test]
fn the_status_decides_who_must_act() {
    let busy = [408, 425, 429, 500, 502, 503, 504, 599];
    let refused = [400, 401, 402, 403, 404, 405, 407, 410, 415, 422, 451, 499];
    let malformed = [0, 99, 100, 101, 201, 204, 226, 300, 301, 302, 303, 304, 307, 308, 600, 999, 65_535];
    for (statuses, kind) in
        [(&busy[..], FailureKind::Busy), (&refused, FailureKind::Refused), (&malformed, FailureKind::Malformed)]
    {
        for &status in statuses {
            for body in ["", "nonsense", "<p>", "{}", "[1]"] {
                let failure = bad(status, body);
                assert_eq!((failure.kind, failure.throttled), (kind, status == 429), "{status} {body}");
                assert!(failure.text.starts_with(&format!("HTTP {status}")), "{failure}");
            }
        }
    }
    assert_eq!(judge(&answer(201, br#"{"access_token":"t"}"#)).unwrap().value.expose(), "t");
}

#[test]
fn the_error_code_decides_who_must_act() {
    let kind = |status, code: &str| bad(status, &json!({ "error": code }).to_string()).kind;
    for code in ["temporarily_unavailable", "server_error", "slow_down"] {
        for status in [200, 400, 401, 403, 500, 503] {
            assert_eq!(kind(status, code), FailureKind::Busy, "{status} {code}");
        }
    }
    for code in [
        "invalid_client",
        "invalid_request",
        "invalid_scope",
        "invalid_target",
        "unauthorized_client",
        "unsupported_grant_type",
        "invalid_grant",
        "use_dpop_nonce",
        "AADSTS700016",
    ] {
        for status in [200, 400, 401, 403] {
            assert_eq!(kind(status, code), FailureKind::Refused, "{status} {code}");
        }
        assert_eq!(kind(503, code), FailureKind::Busy, "{code}");
    }
}

#[test]
fn retry_after_in_all_its_forms() {
    let wait = |header, date| {
        let answer = Answer { retry_after: Some(header), date, ..answer(503, b"") };
        judge(&answer).unwrap_err().retry_after.map(|wait| wait.as_millis())
    };
    for (header, expected) in [
        ("120", Some(120_000)),
        (" 1.5 ", Some(1_500)),
        ("0", Some(0)),
        ("Fri, 02 Jan 2026 03:05:05 GMT", Some(60_000)),
        ("Fri, 02 Jan 2026 03:03:05 GMT", None),
        ("-5", None),
        ("soon", None),
        ("", None),
        ("inf", None),
        ("nan", None),
        ("99999999999999999999", Some(1_000_000_000_000_000)),
    ] {
        assert_eq!(wait(header, Some(NOW_AS_DATE)), expected, "{header}");
        assert_eq!(wait(header, None), expected, "{header} by local time");
    }
    let skewed = wait("Fri, 02 Jan 2026 04:05:05 GMT", Some("Fri, 02 Jan 2026 04:04:05 GMT"));
    assert_eq!(skewed, Some(60_000), "by the issuer's clock");
}

#[test]
fn other_bodies_of_failures_are_quoted_shortly_and_redacted() {
    let long = format!("<html>\r\n<b>Bad</b> {SECRET} eyJhbGciOiJub25lIn0.e30. {}", "x".repeat(2_000));
    let failure = bad(500, &long);
    assert!(failure.text.starts_with("HTTP 500: <html> <b>Bad</b> [redacted] [redacted] xxx"), "{failure}");
    assert!(failure.text.len() < 600 && failure.text.ends_with('\u{2026}'));
    let echoed = bad(400, &format!("grant_type=client_credentials&client_secret={}", "hunter2%2F%2B+x"));
    assert!(!echoed.text.contains("hunter2"), "{echoed}");
    let latin = judge(&answer(500, b"caf\xe9 \x07closed")).unwrap_err();
    assert_eq!(&*latin.text, "HTTP 500: caf\u{fffd} closed");
}

#[test]
fn error_descriptions_are_redacted_and_cut() {
    let body =
        json!({ "error": "invalid_client", "error_description": format!("got {SECRET}\n{}", "y".repeat(2_000)) });
    let failure = bad(401, &body.to_string());
    assert!(failure.text.starts_with("HTTP 401, invalid_client: got [redacted] yyy"), "{failure}");
    assert!(failure.text.len() < 700);
    let spring = bad(401, r#"{"error":"Unauthorized","message":"Bad credentials","path":"/oauth2/token"}"#);
    assert_eq!(
        &*spring.text,
        "HTTP 401, Unauthorized: Bad credentials (check client_id, client_secret and auth_method)"
    );
}

#[test]
fn debug_shows_nothing_that_may_be_secret() {
    let all = Some("hunter2");
    let whole = Answer {
        content_type: all,
        content_encoding: all,
        date: all,
        retry_after: all,
        location: all,
        ..answer(200, b"hunter2")
    };
    let shown = format!("{whole:?} {:?}", answer(401, b"104, 117, 110"));
    assert_eq!(shown, "Answer { status: 200, .. } Answer { status: 401, .. }");
}

/// Any JSON, with the keys that matter over-represented.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
        "[0-9.e+-]{0,30}".prop_map(Value::from),
        "[a-zA-Z0-9_-]{0,8}\\.[a-zA-Z0-9_-]{0,30}\\.[a-z]{0,3}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 8, |inner| {
        let names = prop_oneof![4 => proptest::sample::select(&WANTED[..]).prop_map(str::to_owned), 1 => ".{0,8}"];
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::vec((names, inner), 0..8)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

fn check(outcome: Result<Issued, Failure>) -> Result<(), TestCaseError> {
    if let Ok(issued) = outcome {
        prop_assert!(!issued.value.is_empty() && issued.value.expose().bytes().all(|byte| byte.is_ascii_graphic()));
        prop_assert!(!issued.token_type.is_empty());
        prop_assert!(!issued.oddities.iter().any(|oddity| oddity.chars().any(char::is_control)));
        prop_assert!(issued.expires_in.is_none_or(|life| life <= Duration::from_secs(1_000_000_000_000)));
    }
    Ok(())
}

proptest! {
    #[test]
    fn any_bytes_give_an_outcome(
        status: u16, body: Vec<u8>, headers in proptest::array::uniform5(proptest::option::of(".{0,40}")), gzip: bool,
        sent: u32, received: u32,
    ) {
        let [content_type, content_encoding, date, retry_after, location] = &headers;
        let body = if gzip { [&[0x1f, 0x8b, 8, 0][..], &body].concat() } else { body };
        let answer = Answer {
            status,
            content_type: content_type.as_deref(),
            content_encoding: content_encoding.as_deref(),
            date: date.as_deref(),
            retry_after: retry_after.as_deref(),
            location: location.as_deref(),
            body: &body,
            sent: wall(sent.into()),
            received: wall(received.into()),
        };
        check(judge(&answer))?;
    }

    #[test]
    fn any_json_gives_an_outcome(
        status in proptest::sample::select(&[200_u16, 400, 401, 429, 500][..]), body in any_json(),
    ) {
        let settings = Settings {
            expires_at_field: Some("scope".into()), scope: Some("a".into()), ..settings()
        };
        check(judge_with(&answer(status, body.to_string().as_bytes()), &settings))?;
    }

    #[test]
    fn no_failure_shows_the_secret(
        status in 200_u16..600, before in ".{0,40}", after in ".{0,40}", quoted: bool, code: bool,
    ) {
        let echoed = format!("{before}{SECRET}{after}");
        let body = match (quoted, code) {
            (true, true) => json!({ "error": echoed, "error_description": echoed }).to_string(),
            (true, false) => json!({ "detail": echoed }).to_string(),
            _ => echoed,
        };
        if let Err(failure) = judge(&answer(status, body.as_bytes())) {
            prop_assert!(!failure.text.contains("hunter2"), "{}", failure);
        }
    }
}
