//! Why an issuer could not be reached, in words for the person who has to do something about it.

use std::{error::Error, io, time::Duration};

use rustls::CertificateError;
use url::{Host, Url};

use super::{ProxyChoice, Settings, redact::Redactor};
use crate::token::{Failure, FailureKind};

/// Explains an error of the HTTP client. Names the issuer's host and the proxy's, never the rest of a URL.
pub(super) fn explain(error: reqwest::Error, url: &Url, settings: &Settings) -> Failure {
    // The URL may carry what is not meant for a log.
    let error = error.without_url();
    let place = format!("{}{}", host(url), through(&settings.transport.proxy));
    if find::<hyper::Error>(&error).is_some_and(|error| error.is_parse() && !error.is_parse_too_large()) {
        // Somebody is there, but it is not an issuer.
        return Failure::new(FailureKind::Malformed, format!("{place} does not speak HTTP here; check token_url"));
    }
    Failure::new(FailureKind::Unreachable, explain_connection(&error, url, &place, settings))
}

fn explain_connection(error: &reqwest::Error, url: &Url, place: &str, settings: &Settings) -> String {
    let host = host(url);
    if let Some(problem) = find::<rustls::Error>(error) {
        return format!("TLS with {place} failed: {}", printable(&tls(problem, &host)));
    }
    let cause = printable(&root(error));
    if error.is_connect() && error.is_timeout() {
        return format!("no connection to {place} within {}", seconds(settings.transport.connect_timeout));
    }
    if chain(error).any(|cause| cause.to_string().starts_with("dns error")) {
        let who = if settings.transport.proxy == ProxyChoice::None { host } else { format!("{host} or its proxy") };
        return format!("the name {who} cannot be resolved: {cause}; check token_url and the name servers");
    }
    if error.is_connect() {
        return format!("cannot connect to {place}: {cause}");
    }
    format!("{place} broke off before its answer was complete: {cause}")
}

/// Host and, unless it is the scheme's own, port.
pub(super) fn host(url: &Url) -> String {
    let host = url.host().map_or_else(|| "?".to_owned(), |host: Host<&str>| host.to_string());
    url.port().map_or(host.clone(), |port| format!("{host}:{port}"))
}

/// `10 s`, `0.5 s`.
pub(super) fn seconds(span: Duration) -> String {
    format!("{} s", span.as_secs_f64())
}

fn through(proxy: &ProxyChoice) -> String {
    match proxy {
        ProxyChoice::None => String::new(),
        ProxyChoice::Environment => " (a proxy of the environment may be in between)".to_owned(),
        ProxyChoice::Url(url) => format!(" through the proxy {}", host(url)),
    }
}

fn tls(error: &rustls::Error, host: &str) -> String {
    let rustls::Error::InvalidCertificate(problem) = error else { return error.to_string() };
    match problem {
        CertificateError::UnknownIssuer => {
            "its certificate is not trusted (unknown authority); set tls.ca_file to the authority's certificate, or \
             install it on the system and reload"
                .to_owned()
        }
        CertificateError::BadSignature => {
            "its certificate is not trusted (the trusted authority of that name has not signed it); set tls.ca_file to \
             the authority's certificate, or install it on the system and reload"
                .to_owned()
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "its certificate has expired, or this machine's clock is wrong".to_owned()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "its certificate is not valid yet, or this machine's clock is wrong".to_owned()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            format!("its certificate is not for {host}; check token_url")
        }
        other => format!("its certificate is not trusted ({other}); if it should be, set tls.ca_file"),
    }
}

/// Names in certificates and the like come from the other side.
fn printable(text: &str) -> String {
    Redactor::default().excerpt(text, LONGEST)
}

/// The innermost cause, which is the one that says something.
fn root(error: &(dyn Error + 'static)) -> String {
    chain(error).last().map(ToString::to_string).unwrap_or_default()
}

fn find<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    chain(error).find_map(|cause| cause.downcast_ref())
}

/// The error and its causes. What an I/O error wraps is not its `source`, but counts here as its cause.
fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| cause(*error))
}

fn cause<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(wrapped) => Some(wrapped),
        None => error.source(),
    }
}

/// How much of a cause is shown, in bytes.
const LONGEST: usize = 300;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_shown_without_what_surrounds_it() {
        for (url, shown) in [
            ("https://me:pass@issuer.example/token?x=1", "issuer.example"),
            ("https://issuer.example:8443/", "issuer.example:8443"),
            ("http://[::1]:80/", "[::1]"),
        ] {
            assert_eq!(host(&Url::parse(url).unwrap()), shown);
        }
    }

    #[test]
    fn times_read_naturally() {
        assert_eq!(seconds(Duration::from_secs(10)), "10 s");
        assert_eq!(seconds(Duration::from_millis(250)), "0.25 s");
    }

    #[test]
    fn what_an_io_error_wraps_is_found() {
        let inner = rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer);
        let outer = io::Error::other(io::Error::new(io::ErrorKind::InvalidData, inner.clone()));
        assert_eq!(find::<rustls::Error>(&outer), Some(&inner));
        assert!(root(&outer).contains("UnknownIssuer"));
        assert!(tls(&inner, "issuer.example").contains("set tls.ca_file"));
    }
}
