//! Lifetimes and points in time, in all the notations that issuers use.

use std::time::Duration;

use super::{
    Expectations, IssuerTime, LifetimeUnit,
    fields::{Fields, Value},
    point_in_time,
    success::Oddities,
};

/// How long the token lives by the answer's own fields: `expires_in`, else the configured point in time.
///
/// `None` if neither says it. Zero if the point in time is past: such a token is dead on arrival.
pub(super) fn told(
    fields: &Fields,
    expectations: &Expectations<'_>,
    clock: &IssuerTime,
    oddities: &mut Oddities<'_>,
) -> Option<Duration> {
    let per_second = match expectations.expires_in_unit {
        LifetimeUnit::Milliseconds => 1_000.0,
        LifetimeUnit::Seconds => 1.0,
    };
    span(fields, "expires_in", per_second, oddities)
        .or_else(|| expectations.expires_at_field.and_then(|name| until(fields, name, clock, oddities)))
}

/// The issuer's hint when to refresh: `refresh_in`, seconds.
pub(super) fn refresh_hint(fields: &Fields, oddities: &mut Oddities<'_>) -> Option<Duration> {
    span(fields, "refresh_in", 1.0, oddities)
}

/// A number of seconds as a positive time; `None` if it is not one. Never more than 30 000 years.
pub(super) fn seconds(number: f64) -> Option<Duration> {
    if !number.is_finite() {
        return None;
    }
    Duration::try_from_secs_f64(number.min(LONGEST)).ok().filter(|span| !span.is_zero())
}

/// A number, or a text that is one: `3600`, `"3600"`, `3600.0`, `" 3600.0 "`.
pub(super) fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::Text(text) => text.trim().parse().ok(),
        Value::Flag(_) | Value::Nested | Value::Null => None,
    }
}

fn span(fields: &Fields, name: &str, per_second: f64, oddities: &mut Oddities<'_>) -> Option<Duration> {
    let value = fields.get(name)?;
    let span = number(value).and_then(|number| seconds(number / per_second));
    if span.is_none() && !matches!(value, Value::Null) {
        oddities.note(format!("{name} is {}, which says nothing", shown(value, oddities)));
    }
    span
}

fn until(fields: &Fields, name: &str, clock: &IssuerTime, oddities: &mut Oddities<'_>) -> Option<Duration> {
    let value = fields.get(name)?;
    let point = point_in_time::read(value);
    if point.is_none() && !matches!(value, Value::Null) {
        oddities.note(format!("{name} is {}, which is no point in time", shown(value, oddities)));
    }
    point.map(|point| clock.until(point))
}

fn shown(value: &Value, oddities: &Oddities<'_>) -> String {
    match value {
        Value::Flag(flag) => flag.to_string(),
        Value::Nested => "an object or a list".to_owned(),
        Value::Null => "null".to_owned(),
        Value::Number(number) => number.to_string(),
        Value::Text(text) => format!("\"{}\"", oddities.excerpt(text)),
    }
}

/// Longer lives are cut to this, in seconds, so that arithmetic stays far from every overflow.
const LONGEST: f64 = 1e12;
