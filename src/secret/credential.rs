//! A secret that systemd hands to the service as a credential (systemd.exec(5), `LoadCredential=` and its kin).

use std::{env, path::Path};

use super::{Read, SecretError, SecretFile, Shape};

/// A named credential of the service that the daemon runs as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential {
    name: Box<str>,
    /// `None`: the process has no credentials.
    file: Option<SecretFile>,
}

impl Credential {
    /// The credential of this name, in the directory that `CREDENTIALS_DIRECTORY` names.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "systemd's own variable, which is no configuration of ours")]
    pub fn named(name: &str) -> Self {
        let directory = env::var_os("CREDENTIALS_DIRECTORY");
        let file = directory.map(|directory| SecretFile::at(&Path::new(&directory).join(name)));
        Self { name: name.into(), file }
    }

    /// What it is called.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Reads the secret.
    ///
    /// # Errors
    /// [`SecretError`] naming the credential: the service has none, or what is wrong with its file.
    pub(super) async fn read(&self, shape: Shape) -> Result<Read, SecretError> {
        let name = &self.name;
        let Some(file) = &self.file else {
            return Err(SecretError::new(format!(
                "credential {name}: this process has no credentials; add LoadCredential={name}:/path/to/secret \
                 to its unit and restart it"
            )));
        };
        file.read(shape).await.map_err(|error| {
            let text = format!("credential {name}: {error} (see LoadCredential= in the unit of bearerd)");
            SecretError::new(text).at_revision(error.revision())
        })
    }

    /// See [`SecretSource::revision`](super::SecretSource::revision).
    pub(super) async fn revision(&self) -> Option<u64> {
        match &self.file {
            Some(file) => file.revision().await,
            None => Some(0),
        }
    }
}
