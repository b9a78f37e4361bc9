//! What a node says at `/metrics`, in Prometheus' text format.

/// The sum of those series of a metric that have `label` in their labels, in whole numbers; 0 of none.
#[must_use]
pub fn sum(text: &str, name: &str, label: &str) -> u64 {
    let is_series = |line: &&str| line.split(['{', ' ']).next() == Some(name) && line.contains(label);
    let value = |line: &str| line.rsplit(' ').next()?.split('.').next()?.parse::<u64>().ok();
    text.lines().filter(is_series).filter_map(value).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_summed_over_its_series() {
        let text = "# HELP a_total x\n# TYPE a_total counter\na_total{b=\"1 2\"} 2\na_total{b=\"2\"} 3\na_total_other 7\nc 7.5\n";
        assert_eq!(sum(text, "a_total", ""), 5);
        assert_eq!(sum(text, "a_total", "b=\"2\""), 3);
        assert_eq!(sum(text, "c", ""), 7);
        assert_eq!(sum(text, "d", ""), 0);
    }
}
