//! `tics calibrate`: what this machine can carry.

use crate::calibrate::{calibrate, render};
use crate::cli::CalibrateArgs;
use crate::commands::trace::print;
use crate::outcome::{Failed, OrStatus, RUN_DIR, USAGE, failed};

/// Runs the ladder and prints what came of it.
pub fn run(args: &CalibrateArgs) -> Result<u8, Failed> {
    let calibration = calibrate(args)?;
    let json = tics_report::to_json(&calibration).or_status(USAGE)?;
    if let Some(path) = &args.output {
        std::fs::write(path, &json)
            .map_err(|e| failed(RUN_DIR, format!("{}: cannot be written: {e}", path.display())))?;
    }
    print(&if args.json { json } else { render(&calibration) })?;
    Ok(0)
}
