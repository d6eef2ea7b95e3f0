//! `kprof doctor`.

use crate::args::DoctorArgs;
use crate::exit::Strict;
use crate::output;
use kprof::attach::ncu::Places;
use kprof::host::doctor::diagnose;
use kprof::render;

pub(crate) fn run(args: &DoctorArgs) -> anyhow::Result<()> {
    let found = diagnose(&Places::of_environment(args.ncu.as_deref()));
    let text = if args.json {
        render::doctor_json(&found)?
    } else {
        render::doctor(&found, output::color(), output::wrap_width())
    };
    output::print_as_is(&text)?;
    match found.advice.len() {
        count if args.strict && count > 0 => Err(Strict(count).into()),
        _ => Ok(()),
    }
}
