//! What the verdict is judged by.

use std::collections::BTreeMap;

use clap::Args;
use tics_stats::{CHECKS, check_info};

/// Thresholds by hand.
#[derive(Debug, Clone, Default, Args)]
pub struct ValidityArgs {
    /// Threshold of a check of the measurement, or `off`: A1=5, D1=off (docs/validity.md has them all); may
    /// be repeated
    #[arg(long, value_name = "ID=VALUE", value_parser = check)]
    pub check: Vec<(String, Option<f64>)>,
}

impl ValidityArgs {
    /// As `run.json` has them; the last of several for one check counts.
    pub fn changed(&self) -> BTreeMap<String, Option<f64>> {
        self.check.iter().cloned().collect()
    }
}

fn check(text: &str) -> Result<(String, Option<f64>), String> {
    let expected = "expected a check and its threshold, such as A1=5, or D1=off";
    let (id, value) = text.split_once('=').ok_or_else(|| expected.to_owned())?;
    let Some(info) = check_info(id) else {
        let ids: Vec<&str> = CHECKS.iter().map(|info| info.id).collect();
        return Err(format!("no check {id:?}; there are {}", ids.join(", ")));
    };
    if value == "off" {
        return Ok((id.to_owned(), None));
    }
    let number = value.strip_suffix(info.unit).unwrap_or(value).trim().parse::<f64>();
    match number.ok().filter(|v| v.is_finite() && *v >= 0.0) {
        Some(value) => Ok((id.to_owned(), Some(value))),
        None => Err(format!("{expected}; {value:?} is no number of zero or more")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_and_what_is_none() {
        assert_eq!(check("A1=5"), Ok(("A1".to_owned(), Some(5.0))));
        assert_eq!(check("A1=0.5ms"), Ok(("A1".to_owned(), Some(0.5))));
        assert_eq!(check("D1=off"), Ok(("D1".to_owned(), None)));
        assert!(check("Z9=1").unwrap_err().contains("A1, A2a"));
        for wrong in ["A1", "A1=", "A1=-1", "A1=inf", "A1=soon"] {
            assert!(check(wrong).unwrap_err().starts_with("expected"), "{wrong}");
        }
        let args = ValidityArgs { check: vec![check("A1=5").unwrap(), check("A1=7").unwrap()] };
        assert_eq!(args.changed(), [("A1".to_owned(), Some(7.0))].into());
    }
}
