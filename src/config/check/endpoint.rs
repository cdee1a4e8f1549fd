//! Where a client's tokens come from.

use url::{Host, Url};

use super::{auth, connection, request, shared::Shared};
use crate::{
    config::{
        reader::{Node, Table},
        units,
    },
    oauth::{
        BasicEncoding, ClientAuth, Grant, LifetimeUnit, Place, ProxyChoice, Revocation, Settings, Transport,
        client_auth::SecretMethod, discovery::Issuer,
    },
};

/// Reads the keys of a client that its token endpoint is about. `None` only if something was reported.
pub(super) fn check(client: &Table<'_>, shared: &mut Shared) -> Option<Settings> {
    // Every part is read before one is missed, so that all problems are found.
    let connection = connection::check(client, shared);
    let place = place(client, &connection.transport.proxy);
    auth::words(client);
    let auth = auth::check(client);
    let grant = auth::grant(client);
    let client_id = client_id(&client.key("client_id"), auth.as_ref(), grant.as_ref());
    let scope = request::scope(&client.key("scope"));
    let audience = request::audience(&client.key("audience"));
    let resource = request::resource(&client.key("resource"));
    let parameters = request::parameters(&client.key("parameters"));
    let token_type = token_type(&client.key("token_type"));
    let dpop = client.key("dpop").flag().unwrap_or(false);
    if dpop && client.key("token_type").is_set() {
        client.key("token_type").problem("says what dpop = true decides", "remove one of them");
    }
    let expires_in_unit = client.key("expires_in_unit").choice(&UNITS).unwrap_or_default();
    let expires_at_field = client.key("expires_at_field").text().map(Box::from);
    let revocation = revocation(client, &connection.transport.proxy);
    let commands = auth.as_ref().map(ClientAuth::time_of_commands).unwrap_or_default();
    if commands >= connection.attempt_timeout {
        let text = format!("leaves no time for the request: its commands may take {}", units::show_duration(commands));
        client.key("timeouts").problem(&text, "give each command a shorter timeout, or raise timeouts.attempt");
    }
    let place = place?;
    // An issuer that is not encrypted may lead to an endpoint that is.
    let plain = matches!(&place, Place::TokenUrl(url) if is_plain(url, &connection.transport.proxy));
    Some(Settings {
        place,
        grant: grant?,
        client_id: client_id?,
        auth: auth?,
        dpop,
        revocation,
        identity: connection.identity,
        scope,
        audience,
        resource,
        parameters,
        token_type,
        expires_in_unit,
        expires_at_field,
        transport: Transport { plain, ..connection.transport },
        attempt_timeout: connection.attempt_timeout,
    })
}

/// The token endpoint, or else the issuer, who tells where it is.
fn place(client: &Table<'_>, proxy: &ProxyChoice) -> Option<Place> {
    let (token_url, issuer) = (client.key("token_url"), client.key("issuer"));
    if token_url.is_set() || !issuer.is_set() {
        let node = token_url.required(r#"add token_url = "https://…""#);
        let url = url(client, &node, proxy);
        if issuer.is_set() {
            issuer.text();
        }
        return url.map(Place::TokenUrl);
    }
    let url = url(client, &issuer, proxy)?;
    if url.query().is_some() {
        issuer.problem("has a query (?…), which no issuer has (RFC 8414 section 2)", "remove it");
    }
    Some(Place::Discovered(Issuer { text: issuer.peek()?.into(), url }))
}

/// Whether and where the last token is revoked.
fn revocation(client: &Table<'_>, proxy: &ProxyChoice) -> Option<Revocation> {
    let (wanted, place) = (client.key("revoke_on_stop"), client.key("revocation_url"));
    let at = if place.is_set() { url(client, &place, proxy) } else { None };
    if !wanted.flag().unwrap_or(false) {
        return None;
    }
    if client.key("concurrency").peek() == Some("exclusive") {
        wanted.problem("would end a token that others use, too (concurrency = \"exclusive\")", "remove one of them");
    }
    if client.key("token_url").is_set() && !place.is_set() {
        place.problem("is missing", r#"add revocation_url = "https://…", or leave token_url out and name the issuer"#);
    }
    Some(at.map_or(Revocation::Discovered, |url| Revocation::At(Box::new(url))))
}

fn url(client: &Table<'_>, node: &Node<'_>, proxy: &ProxyChoice) -> Option<Url> {
    let allow_http = client.key("allow_http").flag().unwrap_or(false);
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

fn client_id(node: &Node<'_>, auth: Option<&ClientAuth>, grant: Option<&Grant>) -> Option<Box<str>> {
    if !node.is_set() && auth == Some(&ClientAuth::Nothing) && grant.is_some_and(|grant| !grant.names_the_client()) {
        // The assertion in the file says who asks.
        return Some(Box::default());
    }
    let node = node.required(r#"add client_id = "…""#);
    let text = node.text()?;
    if !text.bytes().all(|byte| (0x20..=0x7e).contains(&byte)) {
        node.problem("is not printable ASCII (RFC 6749 appendix A.1)", "write what the issuer gave you");
    }
    let raw =
        |auth: &ClientAuth| matches!(auth, ClientAuth::Secret { method: SecretMethod::Basic(BasicEncoding::Raw), .. });
    if text.contains(':') && auth.is_some_and(raw) {
        node.problem(
            "has a colon, where raw Basic credentials end the id (RFC 7617 section 2)",
            r#"write basic_encoding = "rfc6749" or auth_method = "client_secret_post""#,
        );
    }
    Some(text.into())
}

fn token_type(node: &Node<'_>) -> Option<Box<str>> {
    let text = node.text()?;
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if !text.bytes().all(token) {
        node.problem("is not an authentication scheme (RFC 9110 section 11.1)", r#"write one word, like "Bearer""#);
    }
    Some(text.into())
}

const UNITS: [(&str, LifetimeUnit); 2] =
    [("milliseconds", LifetimeUnit::Milliseconds), ("seconds", LifetimeUnit::Seconds)];
