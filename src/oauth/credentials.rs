//! What one attempt needs that must not be kept: secrets, keys, certificates and assertions, read anew each time.

use std::{
    fmt,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    time::SystemTime,
};

use regex_lite::Regex;

use super::{
    ClientAuth, Settings, assertion,
    client_auth::Proof,
    grant::{BearerAssertion, Grant},
    jws::SigningKey,
    redact::Redactor,
};
use crate::{
    secret::{Complaint, Read, SecretSource, Shape},
    sensitive::Sensitive,
};

/// What was read.
pub(super) struct Credentials {
    /// What to prove the client's identity with, in the order of trying, each with its number from 1.
    pub(super) proofs: Vec<(u8, Proof)>,
    /// What the grant rests on, where it is more than the client itself.
    pub(super) grant: Proof,
    /// Certificate and key of the connection, in PEM.
    pub(super) identity: Option<Sensitive>,
    /// Of several secrets, those that cannot be read.
    pub(super) unread: Vec<Box<str>>,
}

/// Nothing can be asked with what there is: for a person, where and what to do.
pub(super) struct Unusable(String);

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Reads one source after the other, and remembers what state each was in.
struct Reader {
    revisions: DefaultHasher,
    now: SystemTime,
}

impl Credentials {
    /// Reads everything that a request with these settings needs. The number is what [`revision`] says for as long as
    /// nothing of it changes.
    pub(super) async fn read(settings: &Settings, now: SystemTime) -> (u64, Result<Self, Unusable>) {
        let mut reader = Reader { revisions: DefaultHasher::new(), now };
        let outcome = reader.all(settings).await;
        (reader.revisions.finish(), outcome)
    }

    /// Everything in it that is secret as it is sent.
    pub(super) fn secrets(&self) -> impl Iterator<Item = &Sensitive> {
        let proofs = self.proofs.iter().map(|(_, proof)| proof).chain([&self.grant]);
        proofs.filter_map(|proof| match proof {
            Proof::Assertion(secret) | Proof::Secret(secret) => Some(secret),
            Proof::Key(_) | Proof::Nothing => None,
        })
    }
}

/// A number that changes when something of what would be read may have changed; `None` if that cannot be told.
pub(super) async fn revision(settings: &Settings) -> Option<u64> {
    let mut hasher = DefaultHasher::new();
    for source in sources(settings) {
        source.revision().await?.hash(&mut hasher);
    }
    Some(hasher.finish())
}

/// Everything that is read for an attempt, in the order in which it is.
fn sources(settings: &Settings) -> impl Iterator<Item = &SecretSource> {
    let grant = match &settings.grant {
        Grant::ClientCredentials => None,
        Grant::JwtBearer(assertion) => match &**assertion {
            BearerAssertion::File(file) => Some(file),
            BearerAssertion::Signed { key, .. } => Some(key),
        },
        Grant::TokenExchange(subject) => Some(&subject.file),
    };
    let identity = settings.identity.iter().flat_map(|identity| [&identity.certificate, &identity.key]);
    settings.auth.sources().iter().chain(grant).chain(identity)
}

impl Reader {
    async fn all(&mut self, settings: &Settings) -> Result<Credentials, Unusable> {
        // Each is read before one is missed, so that the revision is that of all of them.
        let (proofs, grant) = (self.proofs(&settings.auth).await, self.grant(&settings.grant).await);
        let identity = match &settings.identity {
            Some(identity) => {
                let certificate = self.read(&identity.certificate, Shape::Document).await;
                let key = self.read(&identity.key, Shape::Document).await;
                let (certificate, key) = (certificate?, key?);
                // Of the final size from the start: growing would leave a copy of the key behind.
                let mut pem = String::with_capacity(certificate.len() + 1 + key.len());
                for part in [certificate.expose(), "\n", key.expose()] {
                    pem.push_str(part);
                }
                Some(Sensitive::new(pem))
            }
            None => None,
        };
        let (proofs, unread) = proofs?;
        Ok(Credentials { proofs, grant: grant?, identity, unread })
    }

    async fn proofs(&mut self, auth: &ClientAuth) -> Result<(Vec<(u8, Proof)>, Vec<Box<str>>), Unusable> {
        let alone = |proof| Ok((vec![(0, proof)], Vec::new()));
        match auth {
            ClientAuth::Id | ClientAuth::Nothing => alone(Proof::Nothing),
            ClientAuth::AssertionFile { file, .. } => alone(Proof::Assertion(self.assertion(file).await?)),
            ClientAuth::PrivateKeyJwt { key, .. } => alone(Proof::Key(self.key(key).await?)),
            ClientAuth::Secret { sources, .. } => {
                let (mut proofs, mut unread) = (Vec::new(), Vec::new());
                for (number, source) in (1_u8..).zip(sources) {
                    match self.read(source, Shape::Line).await {
                        Ok(secret) => proofs.push((number, Proof::Secret(secret))),
                        Err(problem) => unread.push(problem.0.into_boxed_str()),
                    }
                }
                if proofs.is_empty() { Err(Unusable(unread.join("; "))) } else { Ok((proofs, unread)) }
            }
        }
    }

    async fn grant(&mut self, grant: &Grant) -> Result<Proof, Unusable> {
        match grant {
            Grant::ClientCredentials => Ok(Proof::Nothing),
            Grant::JwtBearer(assertion) => match &**assertion {
                BearerAssertion::File(file) => Ok(Proof::Assertion(self.assertion(file).await?)),
                BearerAssertion::Signed { key, .. } => Ok(Proof::Key(self.key(key).await?)),
            },
            Grant::TokenExchange(subject) => Ok(Proof::Assertion(self.assertion(&subject.file).await?)),
        }
    }

    async fn key(&mut self, source: &SecretSource) -> Result<Box<SigningKey>, Unusable> {
        let text = self.read(source, Shape::Document).await?;
        SigningKey::read(&text).map(Box::new).map_err(|problem| Unusable(format!("{source}: {problem}")))
    }

    /// What somebody else keeps fresh. That it has not been kept fresh is found here, not by the issuer.
    async fn assertion(&mut self, source: &SecretSource) -> Result<Sensitive, Unusable> {
        let text = self.read(source, Shape::Line).await?;
        match assertion::check_life(text.expose(), self.now) {
            Ok(()) => Ok(text),
            Err(expired) => Err(Unusable(format!("{source}: {expired}"))),
        }
    }

    async fn read(&mut self, source: &SecretSource, shape: Shape) -> Result<Sensitive, Unusable> {
        match source.read(shape).await {
            Ok(Read { secret, revision }) => {
                revision.hash(&mut self.revisions);
                Ok(secret)
            }
            Err(error) => {
                error.revision().hash(&mut self.revisions);
                Err(Unusable(format!("{error}{}", error.complaint().map(quoted).unwrap_or_default())))
            }
        }
    }
}

/// What a program said of its failure, without what it printed, what looks like a token, and what a shell says of the
/// commands that it is about to run.
fn quoted(complaint: &Complaint) -> String {
    let printed = complaint.printed.expose();
    let bare = Sensitive::new(printed.trim().trim_matches(['"', '\'']));
    let redactor = Redactor::new("", &[&bare]);
    let lines = complaint.said.expose().lines().filter(|line| !line.trim_start().starts_with('+'));
    let named = Regex::new(NAMED_SECRET).map(|named| {
        let lines: Vec<_> = lines.map(|line| named.replace_all(line.trim(), "$1[redacted]").into_owned()).collect();
        lines.join(" ")
    });
    // With nothing printed there is nothing to find; with little, it may be in anything.
    let short = (1..SHORT).contains(&bare.len());
    match named {
        Ok(text) if !text.is_empty() && !short => format!(": {}", redactor.excerpt(&text, QUOTED)),
        _ => String::new(),
    }
}

/// A value behind a name that says what it is.
const NAMED_SECRET: &str = r"(?i)([a-z0-9_-]*(?:token|secret|passw|passphrase|credential|api-?key|authorization)[a-z0-9_-]*\s*[=:]\s*)(?:(?:bearer|basic)\s+)?[^\s]+";
/// How much of what a program said is shown, in bytes.
const QUOTED: usize = 300;
/// What is shorter cannot be told from other text.
const SHORT: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(said: &str, printed: &str) -> String {
        quoted(&Complaint { said: Sensitive::new(said), printed: Sensitive::new(printed) })
    }

    #[test]
    fn what_a_command_says_is_shown_without_what_it_printed() {
        assert_eq!(shown("vault is\nsealed\n", ""), ": vault is sealed");
        assert_eq!(shown("", "x"), "");
        for (said, printed) in [
            ("got hunter2-and-more!", "hunter2-and-more\n"),
            ("cannot use correct-horse-battery", "\"correct-horse-battery\""),
            ("+ curl -H 'X-Vault-Token: hunter2'", ""),
            ("++ VAULT_TOKEN=hunter2", ""),
            ("sent X-Vault-Token: hunter2 to it", ""),
            ("password=hunter2, user=me", ""),
            ("Authorization: Bearer hunter2", ""),
            ("what is abc", "abc"),
        ] {
            let text = shown(said, printed);
            assert!(!text.contains("hunter2") && !text.contains("correct") && !text.contains("abc"), "{text}");
        }
    }
}
