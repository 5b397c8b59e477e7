//! Fields under other names: a file that says `arrival_ms` where its format says `timestamp`.

use crate::decimal::{MICROS, MILLIS, NANOS, SECONDS};

/// Reads `OURS=THEIRS`: the name in the format, then the name in the file, such as
/// `timestamp=arrival_ms`. See [`OpenOptions::fields`](crate::OpenOptions::fields).
///
/// # Errors
/// What was expected instead.
pub fn parse_field(text: &str) -> Result<(String, String), String> {
    match text.split_once('=').map(|(ours, theirs)| (ours.trim(), theirs.trim())) {
        Some((ours, theirs)) if !ours.is_empty() && !theirs.is_empty() => {
            Ok((ours.to_owned(), theirs.to_owned()))
        }
        _ => Err(format!("expected OURS=THEIRS such as timestamp=arrival_ms, found \"{text}\"")),
    }
}

/// Decimal places from the unit that a name ends in to nanoseconds: `arrival_ms` counts milliseconds.
pub(crate) fn places_of(name: &str) -> Option<u32> {
    let (_, unit) = name.rsplit_once('_')?;
    match unit {
        "ns" => Some(NANOS),
        "us" => Some(MICROS),
        "ms" => Some(MILLIS),
        "s" | "sec" | "secs" | "seconds" => Some(SECONDS),
        _ => None,
    }
}

/// The name under which the file has `ours`.
pub(crate) fn theirs<'a>(fields: &'a [(String, String)], ours: &'a str) -> &'a str {
    // The last one counts, as of several flags of one name.
    fields.iter().rfind(|(name, _)| name == ours).map_or(ours, |(_, theirs)| theirs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_or_explained() {
        let pair = |a: &str, b: &str| Ok((a.to_owned(), b.to_owned()));
        assert_eq!(parse_field("timestamp=arrival_ms"), pair("timestamp", "arrival_ms"));
        assert_eq!(parse_field(" a = b=c "), pair("a", "b=c"));
        for text in ["", "timestamp", "=x", "x=", " = "] {
            let expect = format!("expected OURS=THEIRS such as timestamp=arrival_ms, found \"{text}\"");
            assert_eq!(parse_field(text), Err(expect));
        }
    }

    #[test]
    fn a_name_may_end_in_its_unit() {
        let check = |name: &str, expect| assert_eq!(places_of(name), expect, "{name}");
        check("arrival_ms", Some(6));
        check("time_in_s", Some(9));
        check("t_us", Some(3));
        check("t_ns", Some(0));
        check("wait_seconds", Some(9));
        check("arrival", None);
        check("ms", None);
        check("total_tokens", None);
    }
}
