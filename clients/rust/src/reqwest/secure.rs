//! Where a token may be sent.

use std::net::IpAddr;

use ::reqwest::Url;

/// Whether nobody on the way can read what is sent: it is encrypted, or it does not leave this machine.
pub(super) fn is_secure(url: &Url) -> bool {
    match url.scheme() {
        "https" => true,
        "http" => url.host_str().is_some_and(is_loopback),
        _ => false,
    }
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || address.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_https_and_this_machine_are_secure() {
        for (url, expected) in [
            ("https://api.example/", true),
            ("http://localhost:8080/", true),
            ("http://LOCALHOST/", true),
            ("http://127.0.0.1/", true),
            ("http://127.8.9.10:1/", true),
            ("http://[::1]:80/", true),
            ("http://api.example/", false),
            ("http://localhost.example/", false),
            ("http://127.0.0.1.example/", false),
            ("http://128.0.0.1/", false),
            ("http://[::2]/", false),
            ("http://0.0.0.0/", false),
            ("ftp://localhost/", false),
        ] {
            assert_eq!(is_secure(&Url::parse(url).unwrap()), expected, "{url}");
        }
    }
}
