//! How tokens are written for the next process, which may be another version of this program.
//!
//! A line that says what it is, the version, a checksum, and one protobuf message for each client. A later version may add
//! fields, which this one passes over; what it changes otherwise gets another version number, and is refused here.

use std::{
    borrow::Cow,
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use prost::Message;
use ring::digest::{SHA256, SHA256_OUTPUT_LEN, digest};
use zeroize::Zeroizing;

use super::Survivors;
use crate::{
    moment::{BootTime, Moment},
    refresh::{Fingerprint, Survivor},
    sensitive::{Sensitive, wipe},
    token::{AccessToken, ClientName, TokenId, snapshot::DayCount},
};

/// One client. Times are nanoseconds: since boot (`CLOCK_BOOTTIME`), or since 1970-01-01 UTC.
#[derive(Clone, PartialEq, Message)]
struct Client {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(bytes = "vec", tag = "2")]
    asks: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    access_token: Vec<u8>,
    #[prost(string, tag = "4")]
    token_type: String,
    #[prost(string, tag = "5")]
    scope: String,
    #[prost(fixed64, tag = "6")]
    epoch: u64,
    #[prost(uint64, tag = "7")]
    serial: u64,
    #[prost(uint64, tag = "8")]
    generation: u64,
    #[prost(uint64, tag = "9")]
    spoiled: u64,
    #[prost(uint64, tag = "10")]
    sent_boot: u64,
    #[prost(uint64, tag = "11")]
    sent_wall: u64,
    #[prost(uint64, tag = "12")]
    lifetime: u64,
    #[prost(uint64, tag = "13")]
    ends_boot: u64,
    #[prost(bool, tag = "14")]
    told: bool,
    #[prost(uint64, optional, tag = "15")]
    lifetime_when_new: Option<u64>,
    #[prost(uint64, optional, tag = "16")]
    next_attempt_boot: Option<u64>,
    #[prost(bool, tag = "17")]
    reissues_late: bool,
    #[prost(uint32, tag = "18")]
    sent_on: u32,
    #[prost(uint32, tag = "19")]
    sent_count: u32,
    #[prost(uint32, tag = "20")]
    secret_in_use: u32,
    #[prost(string, repeated, tag = "21")]
    warnings: Vec<String>,
}

impl Drop for Client {
    fn drop(&mut self) {
        wipe(&mut self.access_token);
    }
}

/// Writes what survives. The buffer is made once in its size, so that no copy of a token stays behind.
#[must_use]
pub(super) fn encode<'a>(
    survivors: impl Iterator<Item = (&'a ClientName, Fingerprint, Survivor)>,
) -> Zeroizing<Vec<u8>> {
    let clients: Vec<Client> = survivors.map(|(name, asks, survivor)| write(name, asks, &survivor)).collect();
    let length: usize =
        clients.iter().map(|client| prost::length_delimiter_len(client.encoded_len()) + client.encoded_len()).sum();
    let mut bytes = Zeroizing::new(Vec::with_capacity(HEAD + length));
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&[0; SHA256_OUTPUT_LEN]);
    for client in clients {
        // Fails only where there is no room, and there is.
        let _ = client.encode_length_delimited(&mut *bytes);
    }
    let sum = digest(&SHA256, bytes.get(HEAD..).unwrap_or_default());
    if let Some(place) = bytes.get_mut(HEAD - SHA256_OUTPUT_LEN..HEAD) {
        place.copy_from_slice(sum.as_ref());
    }
    bytes
}

/// Reads what an earlier process wrote.
///
/// # Errors
/// [`Unreadable`]. There are no halves: one client that makes no sense means that none does.
pub(super) fn decode(bytes: &[u8]) -> Result<Survivors, Unreadable> {
    let rest = bytes.strip_prefix(MAGIC).ok_or(Unreadable::Foreign)?;
    let (version, rest) = rest.split_first_chunk().ok_or(Unreadable::Damaged)?;
    let version = u32::from_le_bytes(*version);
    if version != VERSION {
        return Err(Unreadable::Version(version));
    }
    let (sum, mut body) = rest.split_first_chunk::<SHA256_OUTPUT_LEN>().ok_or(Unreadable::Damaged)?;
    if digest(&SHA256, body).as_ref() != sum {
        return Err(Unreadable::Damaged);
    }
    let mut survivors = Survivors::new();
    while !body.is_empty() {
        let client = Client::decode_length_delimited(&mut body).map_err(|_| Unreadable::Damaged)?;
        let (name, asks, survivor) = read(client).ok_or(Unreadable::Damaged)?;
        survivors.insert(name, (asks, survivor));
    }
    Ok(survivors)
}

fn write(name: &ClientName, asks: Fingerprint, survivor: &Survivor) -> Client {
    let token = &survivor.token;
    let (sent_on, sent_count) = survivor.sent.parts();
    Client {
        name: name.to_string(),
        asks: asks.to_vec(),
        access_token: token.value.expose().as_bytes().to_vec(),
        token_type: token.token_type.to_string(),
        scope: token.scope.to_string(),
        epoch: token.id.epoch,
        serial: token.id.serial,
        generation: token.generation,
        spoiled: survivor.spoiled,
        sent_boot: token.sent.boot.as_nanos(),
        sent_wall: nanos(token.sent.wall.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()),
        lifetime: nanos(token.lifetime),
        ends_boot: token.ends.as_nanos(),
        told: survivor.told,
        lifetime_when_new: survivor.lifetime.map(nanos),
        next_attempt_boot: survivor.next_attempt_at.map(BootTime::as_nanos),
        reissues_late: survivor.reissues_late,
        sent_on,
        sent_count,
        secret_in_use: survivor.secret_in_use.into(),
        warnings: survivor.warnings.iter().map(ToString::to_string).collect(),
    }
}

/// `None`: it makes no sense.
fn read(mut client: Client) -> Option<(ClientName, Fingerprint, Survivor)> {
    let name = ClientName::parse(&client.name).ok()?;
    let asks = client.asks.as_slice().try_into().ok()?;
    let value = match String::from_utf8(std::mem::take(&mut client.access_token)) {
        Ok(text) => Sensitive::new(text),
        Err(error) => {
            wipe(&mut error.into_bytes());
            return None;
        }
    };
    let sent = Moment {
        boot: BootTime::from_nanos(client.sent_boot),
        wall: SystemTime::UNIX_EPOCH.checked_add(Duration::from_nanos(client.sent_wall))?,
    };
    let lifetime = Duration::from_nanos(client.lifetime);
    let ends = BootTime::from_nanos(client.ends_boot);
    // Nothing here may make a token live longer than it was said to.
    if value.is_empty() || ends > sent.boot.plus(lifetime) {
        return None;
    }
    let token = AccessToken {
        id: TokenId { epoch: client.epoch, serial: client.serial },
        generation: client.generation,
        value,
        token_type: Cow::Owned(std::mem::take(&mut client.token_type)),
        scope: std::mem::take(&mut client.scope).into(),
        sent,
        lifetime,
        ends,
        binding: None,
    };
    let survivor = Survivor {
        token: Arc::new(token),
        spoiled: client.spoiled,
        told: client.told,
        lifetime: client.lifetime_when_new.map(Duration::from_nanos),
        next_attempt_at: client.next_attempt_boot.map(BootTime::from_nanos),
        reissues_late: client.reissues_late,
        sent: DayCount::of(client.sent_on, client.sent_count),
        secret_in_use: u8::try_from(client.secret_in_use).unwrap_or_default(),
        warnings: std::mem::take(&mut client.warnings).into_iter().map(String::into_boxed_str).collect(),
    };
    Some((name, asks, survivor))
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

/// What was left cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// It is not whole, or not what it says.
    Damaged,
    /// It is something else.
    Foreign,
    /// Another version of this program wrote it.
    Version(u32),
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Damaged => f.write_str("it is damaged"),
            Self::Foreign => f.write_str("it holds no tokens"),
            Self::Version(version) => write!(f, "another version of bearerd wrote it (format {version})"),
        }
    }
}

const MAGIC: &[u8] = b"bearerd tokens\n";
/// Changes when what is written cannot be read as before.
const VERSION: u32 = 1;
const HEAD: usize = MAGIC.len() + size_of::<u32>() + SHA256_OUTPUT_LEN;

#[cfg(test)]
mod tests {
    use super::*;

    fn survivor() -> Survivor {
        let sent = Moment {
            boot: BootTime::from_nanos(5_000_000_001),
            wall: SystemTime::UNIX_EPOCH + Duration::from_nanos(1_700_000_000_000_000_002),
        };
        let lifetime = Duration::from_secs(3_600);
        let token = AccessToken {
            id: TokenId { epoch: u64::MAX, serial: 3 },
            generation: 4,
            value: Sensitive::new("sëcret-token"),
            token_type: Cow::Borrowed("Bearer"),
            scope: "a b".into(),
            sent,
            lifetime,
            ends: sent.boot.plus(lifetime).minus(Duration::from_secs(7)),
            binding: None,
        };
        Survivor {
            token: Arc::new(token),
            spoiled: 2,
            told: true,
            lifetime: Some(Duration::from_secs(3_599)),
            next_attempt_at: Some(BootTime::from_nanos(77)),
            reissues_late: true,
            sent: DayCount::of(20_000, 5),
            secret_in_use: 2,
            warnings: ["odd".into()].into(),
        }
    }

    fn written(survivor: Survivor) -> Zeroizing<Vec<u8>> {
        encode([(&ClientName::parse("demo").unwrap(), [7; 16], survivor)].into_iter())
    }

    #[test]
    fn what_is_written_is_read() {
        let bytes = written(survivor());
        let read = decode(&bytes).unwrap();
        assert_eq!(read.len(), 1);
        assert_eq!(read["demo"], ([7; 16], survivor()));
        assert!(decode(&encode(std::iter::empty())).unwrap().is_empty());
    }

    #[test]
    fn the_buffer_does_not_grow() {
        let bytes = written(survivor());
        assert_eq!(bytes.capacity(), bytes.len());
    }

    #[test]
    fn no_byte_can_be_changed_or_missing() {
        let bytes = written(survivor());
        for at in 0..bytes.len() {
            let mut other = bytes.clone();
            other[at] ^= 1;
            assert!(decode(&other).is_err(), "byte {at}");
            assert!(decode(&bytes[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused_even_with_a_right_checksum() {
        let damaged = |survivor: Survivor| assert_eq!(decode(&written(survivor)).err(), Some(Unreadable::Damaged));
        let with = |change: fn(&mut AccessToken)| {
            let mut token = AccessToken::clone(&survivor().token);
            change(&mut token);
            Survivor { token: Arc::new(token), ..survivor() }
        };
        damaged(with(|token| token.value = Sensitive::new("")));
        damaged(with(|token| token.ends = token.ends.plus(Duration::from_secs(8))));
        let mut later = written(survivor());
        later[MAGIC.len()] = 2;
        assert_eq!(decode(&later).unwrap_err().to_string(), "another version of bearerd wrote it (format 2)");
        assert_eq!(decode(b"something else").unwrap_err().to_string(), "it holds no tokens");
    }
}
