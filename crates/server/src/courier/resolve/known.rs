//! The names that were found lately.

use std::collections::HashSet;
use std::sync::Arc;

use foldhash::fast::RandomState;

/// Names of one generation, of which there are two. A name has 253 octets at most, so both take some 20 MiB at worst.
const GENERATION_MAX: usize = 32_768;

/// Remembers at least as many names as a generation has, and those found last the longest.
#[derive(Debug, Default)]
pub(super) struct Known {
    young: HashSet<Arc<str>, RandomState>,
    old: HashSet<Arc<str>, RandomState>,
}

impl Known {
    pub(super) fn has(&self, name: &str) -> bool {
        self.young.contains(name) || self.old.contains(name)
    }

    pub(super) fn learn(&mut self, name: Arc<str>) {
        if self.young.contains(&name) {
            return;
        }
        if self.young.len() >= GENERATION_MAX {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(name);
    }

    pub(super) fn forget(&mut self, name: &str) {
        self.young.remove(name);
        self.old.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(number: usize) -> Arc<str> {
        format!("h{number}.example").into()
    }

    #[test]
    fn names_found_lately_are_known_and_the_others_forgotten() {
        let mut known = Known::default();
        known.learn(name(0));
        assert!(known.has("h0.example") && !known.has("h1.example"));
        for number in 1..3 * GENERATION_MAX {
            known.learn(name(number));
            assert!(known.young.len() <= GENERATION_MAX && known.old.len() <= GENERATION_MAX);
        }
        assert!(!known.has("h0.example"));
        assert!((2 * GENERATION_MAX..3 * GENERATION_MAX).all(|number| known.has(&name(number))));
    }

    #[test]
    fn a_name_that_is_found_again_and_again_stays() {
        let mut known = Known::default();
        for number in 1..5 * GENERATION_MAX {
            if number % GENERATION_MAX == 7 {
                known.learn(name(0));
            }
            known.learn(name(number));
        }
        assert!(known.has("h0.example"));
    }

    #[test]
    fn what_is_forgotten_is_gone_from_both_generations() {
        let mut known = Known::default();
        known.learn(name(0));
        (1..=GENERATION_MAX).for_each(|number| known.learn(name(number)));
        assert!(known.old.contains("h0.example"));
        known.learn(name(0));
        known.forget("h0.example");
        assert!(!known.has("h0.example"));
    }
}
