//! The command line as people and scripts meet it: the built binary, its words, what it prints on either output, and
//! its exit code, each spelled out.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod administration;
mod check;
mod credential;
mod daemon;
mod dev;
mod exit_codes;
mod status;
mod token;
mod usage;

use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::TcpSocket;

use crate::support::{binary::Ended, idp::Idp};

/// A client of this issuer that everybody may use and that asks for its first token when somebody wants it, so that
/// each test decides when that is. `more` are further keys.
fn client(name: &str, idp: &Idp, more: &str) -> String {
    crate::support::daemon::client(name, idp, &format!("allow = [{{ any = true }}]\nprefetch = false\n{more}"))
}

/// The same with a plan that shows the same at any time of the day: tokens of a day, renewed after half of it.
fn calm_client(name: &str, idp: &Idp) -> String {
    client(name, idp, "refresh = { earliest = 0.5, latest = 0.5 }")
}

/// The lifetime of the tokens of [`calm_client`], in seconds.
const DAY: u64 = 86_400;

/// A port on which nobody listens, and nobody can as long as it is held.
struct ClosedPort(TcpSocket);

impl ClosedPort {
    fn hold() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
        Self(socket)
    }

    fn url(&self) -> String {
        format!("http://{}/token", self.0.local_addr().unwrap())
    }
}

/// A run that printed this on standard output and ended well.
fn prints(text: &str) -> Ended {
    Ended::new(0, text, "")
}

/// A run that printed nothing but this on standard error and ended with this code.
fn fails(code: i32, text: &str) -> Ended {
    Ended::new(code, "", text)
}
