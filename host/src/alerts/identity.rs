//! What makes two alerts the same one.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};

use super::types::Rule;

/// Label names and values, sorted.
pub type Labels = BTreeMap<String, String>;

/// The label that holds the rule's name, as in Prometheus.
pub const ALERT_NAME: &str = "alertname";

/// Returns the labels of the alert that `rule` makes for a series or group with labels `subject`.
///
/// The rule's own labels win over the subject's, `alertname` over both.
#[must_use]
pub fn labels_of<'a>(rule: &Rule, subject: impl IntoIterator<Item = (&'a str, &'a str)>) -> Labels {
    let mut labels: Labels = subject
        .into_iter()
        // An empty label is the same as none, as in Prometheus.
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    labels.extend(rule.labels.iter().cloned());
    labels.insert(ALERT_NAME.to_owned(), rule.name.clone());
    labels
}

/// Returns the fingerprint of `labels`: 16 hexadecimal digits, the same for the same labels in any order.
#[must_use]
pub fn fingerprint<'a>(labels: impl IntoIterator<Item = (&'a String, &'a String)>) -> String {
    let mut pairs: Vec<_> = labels.into_iter().collect();
    pairs.sort();
    let mut hash = Sha256::new();
    for (name, value) in pairs {
        // Lengths keep `a="bc"` and `ab="c"` apart.
        hash.update((name.len() as u64).to_le_bytes());
        hash.update(name.as_bytes());
        hash.update((value.len() as u64).to_le_bytes());
        hash.update(value.as_bytes());
    }
    watchfire_types::log::hex(&hash.finalize()[..8])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_fingerprint_ignores_label_order(pairs in proptest::collection::btree_map("[a-z]{1,4}", "[a-z]{0,4}", 0..6), seed: u64) {
            let mut shuffled: Vec<_> = pairs.iter().collect();
            fastrand::Rng::with_seed(seed).shuffle(&mut shuffled);
            prop_assert_eq!(fingerprint(&pairs), fingerprint(shuffled));
        }
    }

    #[test]
    fn neighbouring_labels_are_told_apart() {
        let print = |name: &str, value: &str| fingerprint([(&name.to_owned(), &value.to_owned())]);
        assert_ne!(print("a", "bc"), print("ab", "c"));
    }
}
