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
    refresh::{Failing, Fingerprint, Kept, Survivor},
    sensitive::{Sensitive, wipe},
    token::{AccessToken, ClientName, Failure, FailureKind, FailureRecord, TokenId, snapshot::DayCount},
};

/// One client.
#[derive(Clone, PartialEq, Message)]
struct Client {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(bytes = "vec", tag = "2")]
    asks: Vec<u8>,
    #[prost(uint32, tag = "3")]
    sent_on: u32,
    #[prost(uint32, tag = "4")]
    sent_count: u32,
    #[prost(message, optional, tag = "5")]
    token: Option<Token>,
}

/// Its token. Times are nanoseconds: since boot (`CLOCK_BOOTTIME`), or since 1970-01-01 UTC.
#[derive(Clone, PartialEq, Message)]
struct Token {
    #[prost(bytes = "vec", tag = "1")]
    value: Vec<u8>,
    #[prost(string, tag = "2")]
    scheme: String,
    #[prost(string, tag = "3")]
    scope: String,
    #[prost(fixed64, tag = "4")]
    epoch: u64,
    #[prost(uint64, tag = "5")]
    serial: u64,
    #[prost(uint64, tag = "6")]
    generation: u64,
    #[prost(uint64, tag = "7")]
    spoiled: u64,
    #[prost(uint64, tag = "8")]
    sent_boot: u64,
    #[prost(uint64, tag = "9")]
    sent_wall: u64,
    #[prost(uint64, tag = "10")]
    lifetime: u64,
    #[prost(uint64, tag = "11")]
    ends_boot: u64,
    #[prost(bool, tag = "12")]
    told: bool,
    #[prost(uint64, optional, tag = "13")]
    lifetime_when_new: Option<u64>,
    #[prost(uint64, optional, tag = "14")]
    next_attempt_boot: Option<u64>,
    #[prost(bool, tag = "15")]
    reissues_late: bool,
    #[prost(uint32, tag = "16")]
    secret_in_use: u32,
    #[prost(string, repeated, tag = "17")]
    warnings: Vec<String>,
    #[prost(message, optional, tag = "18")]
    failing: Option<Failures>,
}

/// Why a token could not be renewed.
#[derive(Clone, PartialEq, Message)]
struct Failures {
    /// As `google.rpc.ErrorInfo` has it.
    #[prost(string, tag = "1")]
    reason: String,
    #[prost(string, tag = "2")]
    text: String,
    #[prost(uint64, optional, tag = "3")]
    retry_after: Option<u64>,
    #[prost(bool, tag = "4")]
    throttled: bool,
    #[prost(bool, tag = "5")]
    invalid_client: bool,
    #[prost(uint64, tag = "6")]
    at_boot: u64,
    #[prost(uint64, tag = "7")]
    at_wall: u64,
    #[prost(uint32, tag = "8")]
    consecutive: u32,
    #[prost(uint32, tag = "9")]
    refusals: u32,
}

impl Drop for Token {
    fn drop(&mut self) {
        wipe(&mut self.value);
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
    let (sent_on, sent_count) = survivor.sent.parts();
    let token = survivor.kept.as_ref().map(write_token);
    Client { name: name.to_string(), asks: asks.to_vec(), sent_on, sent_count, token }
}

fn write_token(kept: &Kept) -> Token {
    let token = &kept.token;
    Token {
        value: token.value.expose().as_bytes().to_vec(),
        scheme: token.token_type.to_string(),
        scope: token.scope.to_string(),
        epoch: token.id.epoch,
        serial: token.id.serial,
        generation: token.generation,
        spoiled: kept.spoiled,
        sent_boot: token.sent.boot.as_nanos(),
        sent_wall: since_1970(token.sent.wall),
        lifetime: nanos(token.lifetime),
        ends_boot: token.ends.as_nanos(),
        told: kept.told,
        lifetime_when_new: kept.lifetime.map(nanos),
        next_attempt_boot: kept.next_attempt_at.map(BootTime::as_nanos),
        reissues_late: kept.reissues_late,
        secret_in_use: kept.secret_in_use.into(),
        warnings: kept.warnings.iter().map(ToString::to_string).collect(),
        failing: kept.failing.as_ref().map(write_failing),
    }
}

fn write_failing(Failing { record, consecutive, refusals }: &Failing) -> Failures {
    Failures {
        reason: record.failure.kind.reason().to_owned(),
        text: record.failure.text.to_string(),
        retry_after: record.failure.retry_after.map(nanos),
        throttled: record.failure.throttled,
        invalid_client: record.failure.invalid_client,
        at_boot: record.at.boot.as_nanos(),
        at_wall: since_1970(record.at.wall),
        consecutive: *consecutive,
        refusals: *refusals,
    }
}

/// `None`: it makes no sense.
fn read(client: Client) -> Option<(ClientName, Fingerprint, Survivor)> {
    let name = ClientName::parse(&client.name).ok()?;
    let asks = client.asks.as_slice().try_into().ok()?;
    let sent = DayCount::of(client.sent_on, client.sent_count);
    let kept = match client.token {
        Some(token) => Some(read_token(token)?),
        None => None,
    };
    Some((name, asks, Survivor { sent, kept }))
}

fn read_token(mut read: Token) -> Option<Kept> {
    let value = match String::from_utf8(std::mem::take(&mut read.value)) {
        Ok(text) => Sensitive::new(text),
        Err(error) => {
            wipe(&mut error.into_bytes());
            return None;
        }
    };
    let sent = moment(read.sent_boot, read.sent_wall)?;
    let lifetime = Duration::from_nanos(read.lifetime);
    let ends = BootTime::from_nanos(read.ends_boot);
    // Nothing here may make a token live longer than it was said to.
    let longer = ends > sent.boot.plus(lifetime) || sent.wall.checked_add(lifetime).is_none();
    // Both are counted on.
    let countable = read.generation < u64::MAX && read.serial < u64::MAX;
    if value.is_empty() || longer || !countable || read.spoiled > read.generation {
        return None;
    }
    let token = AccessToken {
        id: TokenId { epoch: read.epoch, serial: read.serial },
        generation: read.generation,
        value,
        token_type: Cow::Owned(std::mem::take(&mut read.scheme)),
        scope: std::mem::take(&mut read.scope).into(),
        sent,
        lifetime,
        ends,
        binding: None,
    };
    let failing = match read.failing.take() {
        Some(failures) => Some(read_failing(failures)?),
        None => None,
    };
    Some(Kept {
        token: Arc::new(token),
        spoiled: read.spoiled,
        told: read.told,
        lifetime: read.lifetime_when_new.map(Duration::from_nanos),
        next_attempt_at: read.next_attempt_boot.map(BootTime::from_nanos),
        reissues_late: read.reissues_late,
        secret_in_use: u8::try_from(read.secret_in_use).unwrap_or_default(),
        warnings: std::mem::take(&mut read.warnings).into_iter().map(String::into_boxed_str).collect(),
        failing,
    })
}

fn read_failing(failures: Failures) -> Option<Failing> {
    let kind = FailureKind::ALL.into_iter().find(|kind| kind.reason() == failures.reason)?;
    let failure = Failure::new(kind, failures.text)
        .retry_after(failures.retry_after.map(Duration::from_nanos))
        .throttled(failures.throttled)
        .invalid_client(failures.invalid_client);
    let record = FailureRecord { failure, at: moment(failures.at_boot, failures.at_wall)? };
    Some(Failing { record: Arc::new(record), consecutive: failures.consecutive, refusals: failures.refusals })
}

fn moment(boot: u64, wall: u64) -> Option<Moment> {
    let wall = SystemTime::UNIX_EPOCH.checked_add(Duration::from_nanos(wall))?;
    Some(Moment { boot: BootTime::from_nanos(boot), wall })
}

fn since_1970(wall: SystemTime) -> u64 {
    nanos(wall.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default())
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
        let failure = Failure::new(FailureKind::Busy, "HTTP 503").retry_after(Some(Duration::from_secs(7)));
        let record = FailureRecord { failure: failure.throttled(true).invalid_client(true), at: sent };
        let kept = Kept {
            token: Arc::new(token),
            spoiled: 2,
            told: true,
            lifetime: Some(Duration::from_secs(3_599)),
            next_attempt_at: Some(BootTime::from_nanos(77)),
            reissues_late: true,
            secret_in_use: 2,
            warnings: ["odd".into()].into(),
            failing: Some(Failing { record: Arc::new(record), consecutive: 3, refusals: 1 }),
        };
        Survivor { sent: DayCount::of(20_000, 5), kept: Some(kept) }
    }

    /// All that is in it.
    fn told(survivor: &Survivor) -> String {
        let token = survivor.kept.as_ref().map(|kept| kept.token.value.expose().to_owned());
        format!("{survivor:?} {token:?}")
    }

    fn written(survivor: Survivor) -> Zeroizing<Vec<u8>> {
        encode([(&ClientName::parse("demo").unwrap(), [7; 16], survivor)].into_iter())
    }

    #[test]
    fn what_is_written_is_read() {
        let bytes = written(survivor());
        let read = decode(&bytes).unwrap();
        assert_eq!(read.len(), 1);
        let (asks, read) = &read["demo"];
        assert_eq!((*asks, told(read)), ([7; 16], told(&survivor())));
        let without_token = Survivor { kept: None, ..survivor() };
        let (_, read) = &decode(&written(without_token.clone())).unwrap()["demo"];
        assert_eq!(told(read), told(&without_token));
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
            let kept = survivor().kept.unwrap();
            let mut token = AccessToken::clone(&kept.token);
            change(&mut token);
            Survivor { kept: Some(Kept { token: Arc::new(token), ..kept }), ..survivor() }
        };
        damaged(with(|token| token.ends = token.ends.plus(Duration::from_secs(8))));
        damaged(with(|token| token.value = Sensitive::new("")));
        damaged(with(|token| token.generation = u64::MAX));
        damaged(with(|token| token.generation = 1));
        let mut later = written(survivor());
        later[MAGIC.len()] = 2;
        assert_eq!(decode(&later).unwrap_err().to_string(), "another version of bearerd wrote it (format 2)");
        assert_eq!(decode(b"something else").unwrap_err().to_string(), "it holds no tokens");
    }
}
