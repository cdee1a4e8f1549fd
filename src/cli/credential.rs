//! `bearerd credential`: the protocols in which git and kubectl ask other programs for credentials.
//!
//! Neither can send more than a token, so a client whose calls need more is refused rather than half served.

use std::{
    collections::BTreeMap,
    io::{self, BufRead as _, Read as _},
    net::IpAddr,
    path::PathBuf,
    time::Duration,
};

use bearerd_client::pb::v1;
use prost_types::Timestamp;
use serde_json::{Value, json};

use super::{
    Exit, Outcome, Trouble,
    args::{AskArgs, CredentialArgs},
    output, token,
};
use crate::{json::rfc3339, sensitive::Sensitive};

/// Answers one question of git or kubectl.
pub(super) async fn credential(named: Option<PathBuf>, args: CredentialArgs) -> Outcome {
    match args {
        CredentialArgs::Kubernetes { client } => kubernetes(named, client).await,
        CredentialArgs::Git { client, username, bearer, operation } => {
            if username.contains(char::is_control) {
                return Err(Trouble::new(Exit::Usage, "--username: a name has no control characters"));
            }
            match operation.as_str() {
                "get" => give(named, client, &Question::read()?, (!bearer).then_some(username)).await,
                "erase" => erase(named, client, &Question::read()?).await,
                // gitcredentials(7): what a helper does not know it ignores. `store` brings back what came from here.
                _ => Ok(()),
            }
        }
    }
}

/// `client.authentication.k8s.io`, `ExecCredential`.
async fn kubernetes(named: Option<PathBuf>, client: String) -> Outcome {
    let version = asked_version()?;
    let token = whole(token::fetch(named, ask(client, None)).await?.0, "kubectl")?;
    output::json(&json!({
        "apiVersion": version,
        "kind": "ExecCredential",
        "status": {
            "token": token.access_token,
            "expirationTimestamp": fresh_until(&token).as_ref().map(rfc3339),
        },
    }))
}

/// The version in which kubectl asks.
#[expect(clippy::disallowed_methods, reason = "the variable in which this protocol has its question")]
fn asked_version() -> Result<String, Trouble> {
    let Ok(info) = std::env::var("KUBERNETES_EXEC_INFO") else { return Ok(VERSIONS[0].to_owned()) };
    let info: Value = serde_json::from_str(&info).unwrap_or_default();
    let version = info.get("apiVersion").and_then(Value::as_str).unwrap_or_default();
    if VERSIONS.contains(&version) {
        return Ok(version.to_owned());
    }
    let text = format!(
        "KUBERNETES_EXEC_INFO asks in `{}`; in the kubeconfig write apiVersion: {}",
        version.escape_debug(),
        VERSIONS[0]
    );
    Err(Trouble::new(Exit::Usage, text))
}

/// Until when whoever keeps a token need not ask again: the margin before its end in which the daemon gives it to nobody.
fn fresh_until(token: &v1::Token) -> Option<Timestamp> {
    let (issued, expires) = (token.issued_at?, token.expires_at?);
    let margin = (expires.seconds - issued.seconds).clamp(0, 300) / 10;
    Some(Timestamp { seconds: expires.seconds - margin, nanos: 0 })
}

/// `get`: a name and the token as the password, or the token as Bearer.
async fn give(named: Option<PathBuf>, client: String, question: &Question, username: Option<String>) -> Outcome {
    question.is_safe()?;
    if username.is_none() && !question.knows("authtype") {
        let text = "this git cannot send a Bearer token; leave --bearer out, or use git 2.46 or newer";
        return Err(Trouble::new(Exit::Usage, text));
    }
    let token = whole(token::fetch(named, ask(client, None)).await?.0, "git")?;
    let credential = if let Some(username) = username {
        format!("username={username}\npassword={}\n", token.access_token)
    } else {
        let (kind, value) = (&token.token_type, &token.access_token);
        format!("capability[]=authtype\nauthtype={kind}\ncredential={value}\nephemeral=1\n")
    };
    let expiry = token.expires_at.map(|at| format!("password_expiry_utc={}\n", at.seconds));
    output::print(format!("{credential}{}", expiry.unwrap_or_default()).as_bytes())
}

/// `erase`: the server refused what it was given. If that was the current token, it is reported.
async fn erase(named: Option<PathBuf>, client: String, question: &Question) -> Outcome {
    let Some(refused) = question.credential() else { return Ok(()) };
    let (token, _) = token::fetch(named.clone(), ask(client.clone(), None)).await?;
    if Sensitive::new(token.access_token.clone()) != refused {
        return Ok(());
    }
    let (token, rejection) = token::fetch(named, ask(client, Some(token.id))).await?;
    token::replaced(&token, rejection)
}

fn ask(client: String, rejected: Option<String>) -> AskArgs {
    AskArgs { client, min_validity: None, rejected, timeout: PATIENCE }
}

/// The token, if it is all that a call needs.
fn whole(token: v1::Token, program: &str) -> Result<v1::Token, Trouble> {
    let names: Vec<&str> = token.headers.iter().map(|header| header.name.as_str()).collect();
    let needed = match (token.proof_required, names.is_empty()) {
        (true, _) => "a proof (DPoP)".to_owned(),
        (false, false) => format!("the header {}", names.join(" and ")),
        (false, true) => return Ok(token),
    };
    let text = format!("calls with a token of `{}` need {needed} as well, which {program} cannot send", token.client);
    Err(Trouble::new(Exit::Usage, text))
}

/// What git says on standard input: a line for each attribute (git-credential(1)).
struct Question(BTreeMap<String, Vec<String>>);

impl Question {
    fn read() -> Result<Self, Trouble> {
        let mut text = Vec::new();
        let mut input = io::stdin().lock().take(LARGEST_QUESTION);
        // It ends with an empty line, or with the input. A path may be bytes of any kind.
        while input.read_until(b'\n', &mut text)? > 1 {}
        Ok(Self::parse(&String::from_utf8_lossy(&text)))
    }

    fn parse(text: &str) -> Self {
        let mut attributes: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (name, value) in text.lines().take_while(|line| !line.is_empty()).filter_map(|line| line.split_once('=')) {
            attributes.entry(name.to_owned()).or_default().push(value.to_owned());
        }
        Self(attributes)
    }

    fn value(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.last().map(String::as_str)
    }

    /// Whether git has this capability.
    fn knows(&self, capability: &str) -> bool {
        self.0.get("capability[]").is_some_and(|known| known.iter().any(|known| known == capability))
    }

    /// What the server was given.
    fn credential(&self) -> Option<Sensitive> {
        self.value("credential").or_else(|| self.value("password")).map(Sensitive::new)
    }

    /// A token goes over TLS or stays on this machine (RFC 6750 section 5.3).
    fn is_safe(&self) -> Outcome {
        let host = self.value("host").unwrap_or_default();
        let name = host.rsplit_once(':').map_or(host, |(name, _)| name).trim_matches(['[', ']']);
        let local = name == "localhost" || name.parse().is_ok_and(|address: IpAddr| address.is_loopback());
        match self.value("protocol") {
            Some("https") => Ok(()),
            Some("http") if local => Ok(()),
            protocol => {
                let protocol = protocol.unwrap_or("no protocol");
                let text = format!("no token for {protocol} to `{host}`: only https keeps it from others");
                Err(Trouble::new(Exit::Usage, text))
            }
        }
    }
}

/// The newest first.
const VERSIONS: [&str; 2] = ["client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1"];
/// How long to wait for a first token.
const PATIENCE: Duration = Duration::from_secs(10);
/// A few lines.
const LARGEST_QUESTION: u64 = 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_goes_over_https_or_stays_here() {
        for (text, good) in [
            ("protocol=https\nhost=git.example\n", true),
            ("protocol=http\nhost=127.0.0.1:3000\n", true),
            ("protocol=http\nhost=localhost\n", true),
            ("protocol=http\nhost=[::1]:3000\n", true),
            ("protocol=http\nhost=git.example\n", false),
            ("protocol=http\nhost=localhost.evil.example\n", false),
            ("protocol=ssh\nhost=git.example\n", false),
            ("host=git.example\n", false),
            ("protocol=https\nprotocol=http\nhost=a\n", false),
        ] {
            assert_eq!(Question::parse(text).is_safe().is_ok(), good, "{text}");
        }
    }

    #[test]
    fn what_is_kept_is_asked_for_again_before_its_end() {
        let at = |seconds| Some(Timestamp { seconds, nanos: 999 });
        let until = |lifetime: i64| {
            let token = v1::Token { issued_at: at(1_000), expires_at: at(1_000 + lifetime), ..v1::Token::default() };
            fresh_until(&token).unwrap().seconds - 1_000
        };
        assert_eq!((until(3_600), until(100), until(0)), (3_570, 90, 0));
    }

    #[test]
    fn a_client_whose_calls_need_more_is_refused() {
        let header = |name: &str| v1::RequestHeader { name: name.to_owned(), ..v1::RequestHeader::default() };
        let token = v1::Token { client: "wawex".into(), headers: vec![header("A"), header("B")], ..Default::default() };
        let refused = whole(token.clone(), "git").unwrap_err().text;
        assert_eq!(refused, "calls with a token of `wawex` need the header A and B as well, which git cannot send");
        let bound = v1::Token { proof_required: true, headers: Vec::new(), ..token };
        assert!(whole(bound.clone(), "git").unwrap_err().text.contains("a proof (DPoP)"));
        assert!(whole(v1::Token { proof_required: false, ..bound }, "git").is_ok());
    }
}
