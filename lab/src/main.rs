//! Runs the client hard. Each task is started by `cargo xtask NAME`, and says what it found.

mod chaos;
mod fleet;
mod intermediaries;

use std::env;
use std::process::ExitCode;

use plexsphere_client::BoxError;

/// A task gets the words behind its name; `false` means that it found a fault.
type Task = fn(&[String]) -> Result<bool, BoxError>;

const TASKS: &[(&str, Task)] = &[
    ("chaos", chaos::run),
    ("chaos-agent", chaos::agent),
    ("fleet", fleet::run),
    ("intermediaries", intermediaries::run),
];

fn main() -> ExitCode {
    let words: Vec<String> = env::args().skip(1).collect();
    let name = words.first().map_or("", String::as_str);
    let Some((_, task)) = TASKS.iter().find(|(known, _)| *known == name) else {
        let names: Vec<&str> = TASKS.iter().map(|(known, _)| *known).collect();
        eprintln!("no task is named {name:?}; there are: {}", names.join(", "));
        return ExitCode::from(2);
    };
    match task(&words[1..]) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(problem) => {
            eprintln!("{name}: {problem}");
            ExitCode::from(2)
        }
    }
}
