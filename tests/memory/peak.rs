//! The most resident memory that something takes, by the kernel's high-water mark.

use std::fs;

pub const MEBIBYTE: u64 = 1024 * 1024;

/// A line of `/proc/self/status` in bytes.
fn status(name: &str) -> u64 {
    let text = fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap();
    line.trim().strip_suffix(" kB").unwrap().trim().parse::<u64>().unwrap() * 1024
}

/// Sets `VmHWM` back to what is in use now.
fn reset_peak() {
    fs::write("/proc/self/clear_refs", "5").unwrap();
}

/// Runs it, prints what it took at the peak, and sees that this is less than 64 MiB.
pub async fn peak_of(what: &str, run: impl Future<Output = ()>) {
    peak_under(64 * MEBIBYTE, what, run).await;
}

/// The same for another number of bytes.
pub async fn peak_under(most: u64, what: &str, run: impl Future<Output = ()>) {
    reset_peak();
    let (before, began) = (status("VmRSS"), std::time::Instant::now());
    run.await;
    let more = status("VmHWM").saturating_sub(before);
    let took = began.elapsed().as_secs_f64();
    println!("{what}: {:.1} MiB more at the peak, {took:.1} s", more as f64 / MEBIBYTE as f64);
    assert!(more < most, "{what}: {more} bytes");
}
