//! Which kprof this is, and what time it is.

use crate::profile::KprofInfo;

/// This program: its version, and the git revision that `build.rs` found.
pub fn kprof_info() -> KprofInfo {
    KprofInfo {
        version: env!("CARGO_PKG_VERSION").to_string(),
        revision: option_env!("KPROF_REVISION").filter(|text| !text.is_empty()).map(str::to_string),
    }
}

/// The time now in UTC, RFC 3339, to the second.
pub fn now_rfc3339() -> String {
    format!("{:.0}", jiff::Timestamp::now())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_is_rfc_3339_in_utc_to_the_second() {
        let now = now_rfc3339();
        assert_eq!(now.len(), "2026-01-31T12:00:00Z".len(), "{now}");
        assert!(now.ends_with('Z') && now.parse::<jiff::Timestamp>().is_ok(), "{now}");
    }

    #[test]
    fn a_revision_is_hexadecimal_and_may_be_dirty() {
        let info = kprof_info();
        assert_eq!(info.version, env!("CARGO_PKG_VERSION"));
        if let Some(revision) = info.revision {
            let hash = revision.strip_suffix("-dirty").unwrap_or(&revision);
            assert!(hash.len() >= 7 && hash.chars().all(|c| c.is_ascii_hexdigit()), "{revision}");
        }
    }
}
