//! Tasks of this repository: `cargo xtask NAME`.

use std::env;
use std::process::ExitCode;

mod against;
mod import;
mod judge;
mod lab;
mod repo;
mod report;
mod spec;
mod tidy;
mod try_spec;
mod verify;

#[path = "../../build/generate.rs"]
mod generate;

#[cfg(test)]
mod refusal_tests;
#[cfg(test)]
#[cfg(feature = "worked-change")]
mod worked_change;

const USAGE: &str = "\
usage: cargo xtask TASK

  verify-spec [--json]           checks the contract: document, surface, wrappers, types, wire
  verify-spec --bless            renews openapi/surface.txt
  verify-spec --against OLD [--json]
                                 says what changed since OLD, a file or git:REVISION
  import-spec FILE --out FILE    translates a document (3.1, or a wide 3.0) for the build
  try-spec FILE                  translates, generates and compiles it in a crate of its own
  tidy [--json]                  checks the house rules: imports, lengths, tests

  chaos | fleet | intermediaries [--release] ...
                                 runs the client hard, see lab/README.md
";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match run(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(problem) => {
            eprint!("{problem}{}", if problem.is_empty() { "" } else { "\n" });
            ExitCode::from(2)
        }
    }
}

/// Runs one task; `false` means that a check failed.
fn run(arguments: &[String]) -> Result<bool, String> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let repo = repo::Repo::here();
    match words.as_slice() {
        ["verify-spec"] => verify::run(&repo).map(|lines| report::show(&lines)),
        ["verify-spec", "--json"] => verify::run(&repo).map(|lines| report::show_json(&lines)),
        ["verify-spec", "--bless"] => verify::surface::bless(&repo).map(|said| report::say(&said)),
        ["verify-spec", "--against", old] => {
            against::run(&repo, old, false).map(|said| report::say(&said))
        }
        ["verify-spec", "--against", old, "--json"] => {
            against::run(&repo, old, true).map(|said| report::say(&said))
        }
        ["import-spec", file, "--out", out] => {
            import::run(file, out).map(|said| report::say(&said))
        }
        ["try-spec", file] => try_spec::run(&repo, file).map(|said| report::say(&said)),
        [task, ..] if lab::TASKS.contains(task) => lab::run(&repo, &words),
        ["--help" | "-h"] => Ok(report::say(USAGE)),
        ["tidy"] => tidy::run(&repo).map(|lines| report::show(&lines)),
        ["tidy", "--json"] => tidy::run(&repo).map(|lines| report::show_json(&lines)),
        _ => Err(USAGE.to_owned()),
    }
}
