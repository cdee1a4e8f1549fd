//! Numbers, and how they are shown.

#![allow(clippy::cast_precision_loss, reason = "figures for people")]

use std::{fmt, time::Duration};

/// Median and quartiles.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spread {
    pub(crate) low: f64,
    pub(crate) median: f64,
    pub(crate) high: f64,
}

impl Spread {
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_unstable_by(f64::total_cmp);
        let at = |share: f64| {
            let place = share * (values.len().saturating_sub(1)) as f64;
            let (below, above) = (place.floor() as usize, place.ceil() as usize);
            match (values.get(below), values.get(above)) {
                (Some(below), Some(above)) => below + (above - below) * place.fract(),
                _ => f64::NAN,
            }
        };
        Self { low: at(0.25), median: at(0.5), high: at(0.75) }
    }

    /// One to one ratios, as both were measured in turns.
    pub(crate) fn of_ratios(ours: &[f64], theirs: &[f64]) -> Self {
        Self::of(ours.iter().zip(theirs).map(|(ours, theirs)| ours / theirs))
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2} [{:.2}-{:.2}]", self.median, self.low, self.high)
    }
}

/// The value in the middle.
pub(crate) fn median(values: &[f64]) -> f64 {
    Spread::of(values.iter().copied()).median
}

pub(crate) fn micros(span: Duration) -> f64 {
    span.as_secs_f64() * 1e6
}

/// One line of the result.
#[derive(Clone, Debug, Default)]
pub(crate) struct Row {
    /// Number of the goal; empty when there is none.
    pub(crate) goal: &'static str,
    pub(crate) figure: String,
    pub(crate) ours: String,
    pub(crate) theirs: String,
    pub(crate) ratio: String,
    pub(crate) limit: String,
    pub(crate) verdict: Verdict,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Verdict {
    #[default]
    NoGoal,
    Pass,
    Miss,
    NotMeasured(String),
}

impl Verdict {
    pub(crate) fn of(reached: bool) -> Self {
        if reached { Self::Pass } else { Self::Miss }
    }

    /// Whether there is a figure. Whether it reaches its goal is for a person to read: it depends on the machine.
    pub(crate) fn measured(&self) -> bool {
        !matches!(self, Self::NotMeasured(_))
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoGoal => Ok(()),
            Self::Pass => f.write_str("PASS"),
            Self::Miss => f.write_str("MISS"),
            Self::NotMeasured(why) => write!(f, "NOT MEASURED: {why}"),
        }
    }
}

impl Row {
    /// A figure that should be at most `limit` times another one.
    pub(crate) fn at_most(goal: &'static str, figure: &str, ratio: Spread, limit: f64) -> Self {
        Self {
            goal,
            figure: figure.to_owned(),
            ratio: ratio.to_string(),
            limit: format!("<= {limit:.2} x"),
            verdict: Verdict::of(ratio.median <= limit),
            ..Self::default()
        }
    }

    /// A ratio for which there is no goal.
    pub(crate) fn told(figure: &str, ratio: Spread) -> Self {
        Self { figure: figure.to_owned(), ratio: ratio.to_string(), ..Self::default() }
    }

    /// A figure that should be at most `limit`, whatever others reach.
    pub(crate) fn within(goal: &'static str, figure: &str, value: f64, limit: f64, unit: &str) -> Self {
        Self {
            goal,
            figure: figure.to_owned(),
            ours: format!("{value:.2} {unit}"),
            limit: format!("<= {limit} {unit}"),
            verdict: Verdict::of(value <= limit),
            ..Self::default()
        }
    }

    pub(crate) fn not_measured(figure: &str, why: &dyn fmt::Display) -> Self {
        Self { figure: figure.to_owned(), verdict: Verdict::NotMeasured(why.to_string()), ..Self::default() }
    }

    /// Adds the two figures that the ratio was made of.
    pub(crate) fn from(mut self, ours: impl fmt::Display, theirs: impl fmt::Display) -> Self {
        self.ours = ours.to_string();
        self.theirs = theirs.to_string();
        self
    }
}

/// Prints lines under a heading.
pub(crate) fn print(rows: &[Row]) {
    println!(
        "{:<4} {:<50} {:>17} {:>17} {:>19}  {:<12} verdict",
        "goal", "figure", "bearerd", "reference", "ratio", "goal"
    );
    for Row { goal, figure, ours, theirs, ratio, limit, verdict } in rows {
        let line = format!("{goal:<4} {figure:<50} {ours:>17} {theirs:>17} {ratio:>19}  {limit:<12} {verdict}");
        println!("{}", line.trim_end());
    }
    println!();
}
