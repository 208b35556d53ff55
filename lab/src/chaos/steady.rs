//! Whether something stays as it is over a run, or grows.

/// A quantity over time, as straight as it goes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Trend {
    /// What the line says for the first sample and the last.
    pub start: f64,
    pub end: f64,
    pub highest: f64,
}

impl Trend {
    /// Fits a line through `(x, y)` by least squares, without the first third: a process has
    /// to warm up. `None` for fewer than three samples, or samples at one place.
    pub fn of(samples: &[(f64, f64)]) -> Option<Self> {
        let warm = &samples[samples.len() / 3..];
        let (first, last) = (warm.first()?.0, warm.last()?.0);
        let count = warm.len() as f64;
        let mean = |of: fn(&(f64, f64)) -> f64| warm.iter().map(of).sum::<f64>() / count;
        let (mean_x, mean_y) = (mean(|sample| sample.0), mean(|sample| sample.1));
        let spread: f64 = warm.iter().map(|(x, _)| (x - mean_x).powi(2)).sum();
        if warm.len() < 3 || spread == 0.0 {
            return None;
        }
        let common: f64 = warm.iter().map(|(x, y)| (x - mean_x) * (y - mean_y)).sum();
        let slope = common / spread;
        let at = |x: f64| mean_y + slope * (x - mean_x);
        let highest = warm.iter().map(|sample| sample.1).fold(f64::MIN, f64::max);
        Some(Self { start: at(first), end: at(last), highest })
    }

    /// By how much it grows over the run.
    pub fn growth(&self) -> f64 {
        self.end - self.start
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leak_under_noise_is_a_slope_and_noise_alone_is_none() {
        let noisy = |n: u32, leak: f64| {
            let x = f64::from(n);
            (x, 20_000.0 + leak * x + f64::from(n * 7919 % 101) * 10.0)
        };
        let flat: Vec<_> = (0..1_000).map(|n| noisy(n, 0.0)).collect();
        let leaking: Vec<_> = (0..1_000).map(|n| noisy(n, 10.0)).collect();
        let growth = |samples: &[(f64, f64)]| Trend::of(samples).unwrap().growth();
        assert!(growth(&flat).abs() < 50.0, "{}", growth(&flat));
        assert!((6_000.0..7_300.0).contains(&growth(&leaking)), "{}", growth(&leaking));
    }

    #[test]
    fn the_warm_up_does_not_count() {
        let warm = |n: u32| if n < 30 { f64::from(n) * 100.0 } else { 3_000.0 };
        let samples: Vec<_> = (0..100).map(|n| (f64::from(n), warm(n))).collect();
        assert!(Trend::of(&samples).unwrap().growth().abs() < 0.001);
        assert_eq!(Trend::of(&samples[..2]), None);
        assert_eq!(Trend::of(&[(1.0, 1.0); 9]), None);
    }
}
