//! What a run prints.

use std::time::Duration;

use super::judge::Claim;

/// How many examples of a broken claim are printed.
const EXAMPLES: usize = 8;

pub type Row = (String, String);

pub fn table(title: &str, rows: &[Row]) {
    println!("\n{title}");
    let widest = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    for (name, value) in rows {
        println!("  {name:widest$}  {value}");
    }
}

/// Prints the claims; `false` if one does not hold, and then how to see it again.
pub fn verdict(claims: &[Claim], again: &str) -> bool {
    println!("\nclaims");
    for Claim { name, broken } in claims {
        println!("  {} {name}", if broken.is_empty() { "holds " } else { "BROKEN" });
        for example in broken.iter().take(EXAMPLES) {
            println!("           {example}");
        }
        if let Some(more) = broken.len().checked_sub(EXAMPLES + 1) {
            println!("           and {} more", more + 1);
        }
    }
    let holds = claims.iter().all(|claim| claim.broken.is_empty());
    match holds {
        true => println!("\nall hold"),
        false => println!("\nto see it again: {again}"),
    }
    holds
}

pub fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}
