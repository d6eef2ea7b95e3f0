//! Which ranges each call stands in: one sweep over time per lane.

use super::{Lane, Name, Range};
use std::collections::HashMap;

/// A path of ranges, outermost first, by number.
pub(super) type PathId = u32;

/// Paths, each kept once; number 0 is the empty one.
#[derive(Debug)]
pub(super) struct Paths {
    paths: Vec<Vec<Name>>,
    known: HashMap<Vec<Name>, PathId>,
}

impl Default for Paths {
    fn default() -> Self {
        Self { paths: vec![Vec::new()], known: HashMap::from([(Vec::new(), 0)]) }
    }
}

impl Paths {
    pub(super) fn of(&self, id: PathId) -> &[Name] {
        &self.paths[id as usize]
    }

    fn id(&mut self, path: Vec<Name>) -> PathId {
        if let Some(id) = self.known.get(&path) {
            return *id;
        }
        let id = PathId::try_from(self.paths.len()).unwrap_or(0);
        self.paths.push(path.clone());
        self.known.insert(path, id);
        id
    }

    /// `outer` followed by `inner`.
    pub(super) fn joined(&mut self, outer: PathId, inner: PathId) -> PathId {
        match (outer, inner) {
            (0, id) | (id, 0) => id,
            _ => self.id([self.of(outer), self.of(inner)].concat()),
        }
    }
}

/// A moment on a lane whose ranges are asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Question {
    pub(super) lane: Lane,
    pub(super) at_ns: i64,
    /// Where the answer goes.
    pub(super) index: usize,
}

/// Answers each question with the ranges open at that moment, the first opened outermost; a range is open from its
/// start until before its end. `answers` is as long as the largest index plus one.
pub(super) fn attribute(
    ranges: &mut [Range],
    questions: &mut [Question],
    paths: &mut Paths,
    answers: &mut [PathId],
) {
    // Of ranges that begin together the longer is the outer one.
    ranges.sort_by_key(|r| (r.lane, r.start_ns, std::cmp::Reverse(r.end_ns)));
    questions.sort_by_key(|q| (q.lane, q.at_ns));
    let mut next = 0;
    let mut open: Vec<Range> = Vec::new();
    let mut lane = None;
    let mut path = 0;
    for question in questions {
        let mut changed = lane != Some(question.lane);
        if changed {
            lane = Some(question.lane);
            open.clear();
            next += ranges[next..].partition_point(|r| r.lane < question.lane);
        }
        while let Some(range) = ranges.get(next)
            && range.lane == question.lane
            && range.start_ns <= question.at_ns
        {
            open.push(*range);
            next += 1;
            changed = true;
        }
        if open.iter().any(|r| r.end_ns <= question.at_ns) {
            open.retain(|r| r.end_ns > question.at_ns);
            changed = true;
        }
        if changed {
            path = paths.id(open.iter().map(|r| r.name).collect());
        }
        answers[question.index] = path;
    }
}

#[cfg(test)]
mod tests {
    use super::super::Interner;
    use super::*;

    #[test]
    fn a_moment_is_in_the_ranges_open_on_its_lane_and_no_others() {
        let mut names = Interner::default();
        let [lane, other] = ["lane", "other"].map(|l| names.name(l));
        let mut range = |lane, name: &str, start_ns, end_ns| Range {
            start_ns,
            end_ns,
            lane,
            name: names.name(name),
            recorded: false,
        };
        let mut ranges = [
            range(lane, "inner", 10, 20),
            range(lane, "outer", 10, 100),
            range(lane, "second", 30, 40),
            range(other, "elsewhere", 0, 1000),
            range(lane, "endless", 90, i64::MAX),
        ];
        let moments = [(lane, 15), (lane, 20), (lane, 35), (lane, 99), (lane, 100), (lane, 5), (other, 15)];
        let mut questions: Vec<Question> = moments
            .iter()
            .enumerate()
            .map(|(index, &(lane, at_ns))| Question { lane, at_ns, index })
            .collect();
        let (mut paths, mut answers) = (Paths::default(), vec![0; moments.len()]);
        attribute(&mut ranges, &mut questions, &mut paths, &mut answers);
        let text = |id: &PathId| paths.of(*id).iter().map(|n| names.text(*n)).collect::<Vec<_>>().join("/");
        let found: Vec<String> = answers.iter().map(text).collect();
        assert_eq!(
            found,
            ["outer/inner", "outer", "outer/second", "outer/endless", "endless", "", "elsewhere"]
        );
    }
}
