//! Runs the client hard. Each task is started by `cargo xtask NAME`, and says what it found.

mod chaos;
mod fleet;
mod intermediaries;

use std::env;
use std::process::ExitCode;

use plexsphere_client::BoxError;

/// A task gets the words behind its name; `false` means that it found a fault.
type Task = fn(&[String]) -> Result<bool, BoxError>;

/// Each with the words that it takes.
const TASKS: &[(&str, &str, Task)] = &[
    ("chaos", chaos::USAGE, chaos::run),
    ("chaos-agent", "started by chaos, not by hand", chaos::agent),
    ("fleet", fleet::USAGE, fleet::run),
    ("intermediaries", intermediaries::USAGE, intermediaries::run),
];

fn main() -> ExitCode {
    let words: Vec<String> = env::args().skip(1).collect();
    let name = words.first().map_or("", String::as_str);
    let Some((_, usage, task)) = TASKS.iter().find(|(known, ..)| *known == name) else {
        let names: Vec<&str> = TASKS.iter().map(|(known, ..)| *known).collect();
        eprintln!("no task is named {name:?}; there are: {}", names.join(", "));
        return ExitCode::from(2);
    };
    if words[1..].iter().any(|word| word == "--help" || word == "-h") {
        println!("cargo xtask {name} [--release]\n{usage}");
        return ExitCode::SUCCESS;
    }
    match task(&words[1..]) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(problem) => {
            eprintln!("{name}: {problem} (cargo xtask {name} --help)");
            ExitCode::from(2)
        }
    }
}
