//! Answers to the latest questions: of more than are kept, those that nobody asked for longest go.

use std::collections::HashMap;
use std::hash::Hash;

/// Answers by their questions, `most` of them.
pub(super) struct Recent<K, V> {
    most: usize,
    asked: u64,
    answers: HashMap<K, (u64, V)>,
}

impl<K: Eq + Hash + Copy, V> Recent<K, V> {
    /// Nothing yet, and room for `most`.
    pub(super) fn new(most: usize) -> Self {
        Self { most, asked: 0, answers: HashMap::new() }
    }

    /// The answer, where it is kept.
    pub(super) fn get(&mut self, question: &K) -> Option<&V> {
        self.asked += 1;
        let (last, answer) = self.answers.get_mut(question)?;
        *last = self.asked;
        Some(answer)
    }

    /// Keeps an answer that was not there, and gives the one that had to go for it.
    pub(super) fn insert(&mut self, question: K, answer: V) -> Option<V> {
        self.asked += 1;
        let full = self.answers.len() >= self.most;
        let oldest = self.answers.iter().filter(|_| full).min_by_key(|(_, (last, _))| *last).map(|(k, _)| *k);
        let gone = oldest.and_then(|oldest| self.answers.remove(&oldest));
        self.answers.insert(question, (self.asked, answer));
        gone.map(|(_, answer)| answer)
    }
}

#[cfg(test)]
mod tests {
    use super::Recent;

    #[test]
    fn what_nobody_asked_for_longest_goes_first() {
        let mut recent = Recent::new(2);
        assert_eq!((recent.insert(1, "a"), recent.insert(2, "b")), (None, None));
        assert_eq!(recent.get(&1), Some(&"a"));
        assert_eq!(recent.insert(3, "c"), Some("b"));
        assert_eq!(recent.get(&2), None);
        assert_eq!(recent.get(&3), Some(&"c"));
        assert_eq!(recent.get(&1), Some(&"a"));
        assert_eq!(recent.insert(4, "d"), Some("c"));
    }
}
