//! Where a redirect leads (RFC 9110 section 15.4), as browsers and reqwest understand it.

use ::reqwest::Url;
use http::{
    HeaderMap, Method, StatusCode,
    header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, LOCATION, TRANSFER_ENCODING},
};

/// The next request.
#[derive(Debug, PartialEq)]
pub(super) struct Hop {
    pub(super) url: Url,
    pub(super) method: Method,
    /// Whether the body goes along.
    pub(super) with_body: bool,
}

impl Hop {
    /// What an answer asks for, if it redirects to a place that can be gone to.
    pub(super) fn of(status: StatusCode, headers: &HeaderMap, method: &Method, url: &Url) -> Option<Self> {
        let asked = match status {
            StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND if *method == Method::POST => Some(Method::GET),
            StatusCode::SEE_OTHER if *method != Method::HEAD => Some(Method::GET),
            StatusCode::MOVED_PERMANENTLY
            | StatusCode::FOUND
            | StatusCode::SEE_OTHER
            | StatusCode::TEMPORARY_REDIRECT
            | StatusCode::PERMANENT_REDIRECT => None,
            _ => return None,
        };
        let location = headers.get(LOCATION)?;
        let url = url.join(str::from_utf8(location.as_bytes()).ok()?).ok()?;
        let web = matches!(url.scheme(), "http" | "https");
        web.then(|| Self { url, with_body: asked.is_none(), method: asked.unwrap_or_else(|| method.clone()) })
    }

    /// Takes out what describes a body that does not go along.
    pub(super) fn trim(&self, headers: &mut HeaderMap) {
        if !self.with_body {
            for name in [CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING] {
                headers.remove(name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn hop(status: u16, method: &Method, location: &'static str) -> Option<(String, Method, bool)> {
        let headers = HeaderMap::from_iter([(LOCATION, HeaderValue::from_static(location))]);
        let url = Url::parse("https://api.example/a/b?c").unwrap();
        let hop = Hop::of(StatusCode::from_u16(status).unwrap(), &headers, method, &url)?;
        Some((hop.url.into(), hop.method, hop.with_body))
    }

    #[test]
    fn the_method_changes_where_browsers_change_it() {
        let to = "https://api.example/d";
        let there = |method, with_body| Some((to.to_owned(), method, with_body));
        for status in [301, 302] {
            assert_eq!(hop(status, &Method::POST, "/d"), there(Method::GET, false));
            assert_eq!(hop(status, &Method::PUT, "/d"), there(Method::PUT, true));
        }
        assert_eq!(hop(303, &Method::PUT, "/d"), there(Method::GET, false));
        assert_eq!(hop(303, &Method::HEAD, "/d"), there(Method::HEAD, true));
        for status in [307, 308] {
            assert_eq!(hop(status, &Method::POST, "/d"), there(Method::POST, true));
        }
    }

    #[test]
    fn what_is_no_redirect_is_not_followed() {
        assert_eq!(hop(200, &Method::GET, "/d"), None);
        assert_eq!(hop(304, &Method::GET, "/d"), None);
        assert_eq!(hop(302, &Method::GET, "file:///etc/passwd"), None);
        assert_eq!(hop(302, &Method::GET, "https://["), None);
        let nowhere =
            Hop::of(StatusCode::FOUND, &HeaderMap::new(), &Method::GET, &Url::parse("https://api.example/").unwrap());
        assert_eq!(nowhere, None);
    }
}
