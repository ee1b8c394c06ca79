//! How commands print: text for people, JSON for programs, errors to standard error.

use serde::Serialize;

/// Prints a result.
pub(crate) fn done(json: bool, text: &str, value: &impl Serialize) {
    if json {
        println!("{}", serde_json::to_string_pretty(value).unwrap_or_default());
    } else {
        println!("{text}");
    }
}

/// Prints an error with its causes, one after the other.
#[expect(clippy::print_stderr, reason = "errors of a command line belong there")]
pub(crate) fn error(error: &anyhow::Error) {
    eprintln!("error: {error:#}");
}
