//! One event of a Chrome trace: the fields that matter, borrowed from its text.
//!
//! Events are decoded by hand-written visitors because real traces repeat keys, put numbers into strings, and hold
//! values of any type in `args`: nothing of that is an error unless the value is needed.

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// Fields as they stand in the text.
#[derive(Debug, Default)]
pub(super) struct Event<'a> {
    pub ph: Option<&'a str>,
    pub cat: Option<&'a str>,
    pub name: Option<&'a str>,
    pub pid: Option<&'a str>,
    pub tid: Option<&'a str>,
    pub ts: Option<&'a str>,
    pub dur: Option<&'a str>,
    pub args: Option<&'a str>,
}

/// Fields of `args` as they stand in the text.
#[derive(Debug, Default)]
pub(super) struct Args<'a> {
    pub device: Option<&'a str>,
    pub context: Option<&'a str>,
    pub stream: Option<&'a str>,
    pub correlation: Option<&'a str>,
    pub grid: Option<&'a str>,
    pub block: Option<&'a str>,
    pub registers: Option<&'a str>,
    pub shared: Option<&'a str>,
    pub bytes: Option<&'a str>,
    pub size: Option<&'a str>,
    pub input_dims: Option<&'a str>,
}

macro_rules! from_object {
    ($type:ident, $($key:pat => $field:ident),+) => {
        impl<'de> Deserialize<'de> for $type<'de> {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Fields;
                impl<'de> Visitor<'de> for Fields {
                    type Value = $type<'de>;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str("an object")
                    }
                    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                        let mut value = $type::default();
                        while let Some(Key(key)) = map.next_key::<Key<'de>>()? {
                            match key.as_ref() {
                                $($key => value.$field = Some(map.next_value::<&'de RawValue>()?.get()),)+
                                _ => {
                                    map.next_value::<IgnoredAny>()?;
                                }
                            }
                        }
                        Ok(value)
                    }
                }
                deserializer.deserialize_map(Fields)
            }
        }
    };
}

from_object!(Event, "ph" => ph, "cat" => cat, "name" => name, "pid" => pid, "tid" => tid, "ts" => ts, "dur" => dur,
    "args" => args);
from_object!(Args, "device" => device, "context" => context, "stream" => stream,
    "correlation" => correlation, "grid" => grid, "block" => block, "registers per thread" => registers, "shared memory" => shared, "bytes" => bytes, "size" => size,
    "Input Dims" => input_dims);

/// A key, borrowed where it has no escapes.
#[derive(Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

/// The text of a value: a string without its quotes, anything else as it stands.
pub(super) fn text(raw: &str) -> Cow<'_, str> {
    let Some(inner) = raw.strip_prefix('"').and_then(|r| r.strip_suffix('"')) else { return raw.into() };
    if !inner.contains('\\') {
        return inner.into();
    }
    serde_json::from_str::<String>(raw).map_or_else(|_| inner.into(), Cow::Owned)
}

/// A whole number, also one in quotes; `None` for anything else, negative ones included.
pub(super) fn whole(raw: &str) -> Option<u64> {
    text(raw).parse().ok()
}

/// A number of bytes, also one in quotes.
pub(super) fn number(raw: &str) -> Option<f64> {
    text(raw).parse().ok().filter(|n: &f64| n.is_finite())
}

/// Microseconds as decimal text in nanoseconds, exactly where it has up to three decimals; further ones are cut.
pub(super) fn nanoseconds(raw: &str) -> Option<i64> {
    let text = text(raw);
    let (negative, digits) = text.strip_prefix('-').map_or((false, text.as_ref()), |rest| (true, rest));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all_digits = |t: &str| t.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || !all_digits(whole) || !all_digits(fraction) {
        // An exponent: rare, and a double holds it to some hundred nanoseconds.
        let ns = text.parse::<f64>().ok()? * 1e3;
        return (ns.is_finite() && ns.abs() < 9e18).then_some(ns as i64);
    }
    let three: i64 = fraction.bytes().chain(*b"000").take(3).fold(0, |n, b| n * 10 + i64::from(b - b'0'));
    let ns = whole.parse::<i64>().ok()?.checked_mul(1000)?.checked_add(three)?;
    Some(if negative { -ns } else { ns })
}

/// `[2400, 1, 1]` as exports of other profilers write it: `(2400, 1, 1)`.
pub(super) fn extent(raw: &str) -> Option<String> {
    let parts: Vec<u64> = serde_json::from_str(raw).ok()?;
    let parts: Vec<String> = parts.iter().map(u64::to_string).collect();
    (!parts.is_empty()).then(|| format!("({})", parts.join(", ")))
}

/// The text with values that Python writes and JSON lacks (`NaN`, `inf`, `-Infinity`) as null.
pub(super) fn without_non_numbers(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let (mut in_string, mut escaped) = (false, false);
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let word = rest.bytes().take_while(|b| b.is_ascii_alphabetic() || *b == b'-').count();
        let is_word = matches!(
            rest[..word].to_ascii_lowercase().as_str(),
            "nan" | "-nan" | "inf" | "-inf" | "infinity" | "-infinity"
        );
        if !in_string && is_word {
            out.push_str("null");
            rest = &rest[word..];
            continue;
        }
        match c {
            _ if escaped => escaped = false,
            '\\' if in_string => escaped = true,
            '"' => in_string = !in_string,
            _ => {}
        }
        out.push(c);
        rest = &rest[c.len_utf8()..];
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn microseconds_become_whole_nanoseconds_without_rounding() {
        assert_eq!(nanoseconds("4203669604595.407"), Some(4_203_669_604_595_407));
        assert_eq!(nanoseconds("1695835542514261"), Some(1_695_835_542_514_261_000));
        assert_eq!(nanoseconds("1.5"), Some(1500));
        assert_eq!(nanoseconds("\"7\""), Some(7000));
        assert_eq!(nanoseconds("-2.25"), Some(-2250));
        assert_eq!(nanoseconds("1e3"), Some(1_000_000));
        for none in ["", "null", "\"x\"", "99999999999999999999", "1e300", "--1"] {
            assert_eq!(nanoseconds(none), None, "{none}");
        }
    }

    #[test]
    fn fields_are_borrowed_and_repeated_or_odd_ones_are_no_error() {
        let event: Event<'_> = serde_json::from_str(
            r#"{"ph":"X","ph":"Y","pid":"Spans","ts":1.5,"\u0063at":"kernel","extra":[{}]}"#,
        )
        .unwrap();
        assert_eq!((event.ph, event.pid.map(text).as_deref()), (Some("\"Y\""), Some("Spans")));
        assert_eq!((event.cat, event.dur), (Some("\"kernel\""), None));
        let args: Args<'_> =
            serde_json::from_str(r#"{"grid":[8, 1,1],"correlation":"12","stream":"0x0"}"#).unwrap();
        assert_eq!(args.grid.and_then(extent).as_deref(), Some("(8, 1, 1)"));
        assert_eq!(args.correlation.and_then(whole), Some(12));
        assert_eq!(args.stream.map(text).as_deref(), Some("0x0"));
    }

    #[test]
    fn what_python_writes_for_non_numbers_becomes_null() {
        assert_eq!(
            without_non_numbers(r#"{"a": NaN, "b\"": -Infinity, "c": "inf NaN", "d": [inf]}"#),
            r#"{"a": null, "b\"": null, "c": "inf NaN", "d": [null]}"#
        );
    }
}
