//! Where a client's tokens come from, and how it proves who it is.

use url::{Host, Url};

use super::{connection, request, secret, shared::Shared};
use crate::{
    config::reader::{Node, Table},
    oauth::{BasicEncoding, ClientAuth, LifetimeUnit, ProxyChoice, Settings, Transport},
};

/// Reads the keys of a client that its token endpoint is about. `None` only if something was reported.
pub(super) fn check(client: &Table<'_>, shared: &mut Shared) -> Option<Settings> {
    // Every part is read before one is missed, so that all problems are found.
    let (transport, attempt_timeout) = connection::check(client, shared);
    let token_url = token_url(client, &transport.proxy);
    let auth = auth(client);
    let client_id = client_id(&client.key("client_id"), auth);
    let client_secret = secret::check(&client.key("client_secret"));
    let scope = request::scope(&client.key("scope"));
    let audience = request::audience(&client.key("audience"));
    let resource = request::resource(&client.key("resource"));
    let parameters = request::parameters(&client.key("parameters"));
    let token_type = token_type(&client.key("token_type"));
    let expires_in_unit = client.key("expires_in_unit").choice(&UNITS).unwrap_or_default();
    let expires_at_field = client.key("expires_at_field").text().map(Box::from);
    let token_url = token_url?;
    let plain = is_plain(&token_url, &transport.proxy);
    Some(Settings {
        token_url,
        client_id: client_id?,
        client_secret: client_secret?,
        auth,
        scope,
        audience,
        resource,
        parameters,
        token_type,
        expires_in_unit,
        expires_at_field,
        transport: Transport { plain, ..transport },
        attempt_timeout,
    })
}

fn token_url(client: &Table<'_>, proxy: &ProxyChoice) -> Option<Url> {
    let allow_http = client.key("allow_http").flag().unwrap_or(false);
    let node = client.key("token_url").required(r#"add token_url = "https://…""#);
    let text = node.text()?;
    // The library forgives what is more likely a slip: spaces, line breaks, a missing slash.
    let written_as_url = text.bytes().all(|byte| byte.is_ascii_graphic());
    let known_scheme = text.starts_with("https://") || text.starts_with("http://");
    let parsed = Url::parse(text).ok().filter(|url| written_as_url && known_scheme && url.has_host());
    let Some(url) = parsed else {
        node.problem("is not an https:// URL", r#"write one like "https://issuer.example/oauth2/token""#);
        return None;
    };
    if url.scheme() == "http" && !allow_http {
        if !is_loopback(&url) {
            node.problem(
                "sends the secret unencrypted",
                "write https://, or allow_http = true if nobody can listen on the way",
            );
        } else if *proxy != ProxyChoice::None {
            node.problem(
                "sends the secret unencrypted to the proxy",
                "remove proxy, or write allow_http = true if nobody can listen on the way",
            );
        }
    }
    if !url.username().is_empty() || url.password().is_some() {
        node.problem("holds a user name or password", "write client_id and client_secret instead");
    }
    if url.fragment().is_some() {
        node.problem("has a fragment (#…), which is never sent", "remove the fragment");
    }
    Some(url)
}

/// Whether the URL can only lead to this machine.
fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// Whether nothing on the way to the URL is encrypted.
fn is_plain(url: &Url, proxy: &ProxyChoice) -> bool {
    let unencrypted = match proxy {
        ProxyChoice::None => true,
        // It may name a proxy that is spoken to over TLS.
        ProxyChoice::Environment => false,
        ProxyChoice::Url(proxy) => proxy.scheme() != "https",
    };
    unencrypted && url.scheme() == "http"
}

fn client_id(node: &Node<'_>, auth: ClientAuth) -> Option<Box<str>> {
    let node = node.required(r#"add client_id = "…""#);
    let text = node.text()?;
    if !text.bytes().all(|byte| (0x20..=0x7e).contains(&byte)) {
        node.problem("is not printable ASCII (RFC 6749 appendix A.1)", "write what the issuer gave you");
    }
    if text.contains(':') && auth == (ClientAuth::SecretBasic { encoding: BasicEncoding::Raw }) {
        node.problem(
            "has a colon, where raw Basic credentials end the id (RFC 7617 section 2)",
            r#"write basic_encoding = "rfc6749" or auth_method = "client_secret_post""#,
        );
    }
    Some(text.into())
}

fn auth(client: &Table<'_>) -> ClientAuth {
    let encoding = client.key("basic_encoding").choice(&ENCODINGS).unwrap_or(BasicEncoding::Rfc6749);
    let node = client.key("auth_method");
    if node.peek().is_some_and(|text| LATER_METHODS.contains(&text)) {
        node.problem("is not supported by this version", r#"write "client_secret_post" or "client_secret_basic""#);
        return ClientAuth::SecretPost;
    }
    let methods =
        [("client_secret_basic", ClientAuth::SecretBasic { encoding }), ("client_secret_post", ClientAuth::SecretPost)];
    node.choice(&methods).unwrap_or(ClientAuth::SecretPost)
}

fn token_type(node: &Node<'_>) -> Option<Box<str>> {
    let text = node.text()?;
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if !text.bytes().all(token) {
        node.problem("is not an authentication scheme (RFC 9110 section 11.1)", r#"write one word, like "Bearer""#);
    }
    Some(text.into())
}

const ENCODINGS: [(&str, BasicEncoding); 2] = [("raw", BasicEncoding::Raw), ("rfc6749", BasicEncoding::Rfc6749)];

const UNITS: [(&str, LifetimeUnit); 2] =
    [("milliseconds", LifetimeUnit::Milliseconds), ("seconds", LifetimeUnit::Seconds)];

/// Methods of the OAuth registry (RFC 7591, 7523, 8705) that are not built yet.
const LATER_METHODS: [&str; 5] =
    ["client_secret_jwt", "none", "private_key_jwt", "self_signed_tls_client_auth", "tls_client_auth"];
