//! The flags of `kprof schema`.

use clap::Args;

#[derive(Args, Clone, Debug)]
#[command(
    about = "Print the JSON Schema of run files",
    long_about = "Print the JSON Schema of run files: of a line, whose `type` says which record it is, or of one record.\n\n\
    Values are in base units, as the end of their names says; a field that is not known is absent or null.",
    after_help = "\
Examples:
  kprof schema > run.schema.json           every record
  kprof schema latency                     one record, with what it refers to
  kprof schema | jq -r '.oneOf[].properties.type.const'    their names"
)]
pub(crate) struct SchemaArgs {
    /// The record, e.g. latency or manifest; all unless given
    #[arg(value_name = "RECORD")]
    pub(crate) record: Option<String>,
}
