//! Sets of time intervals: unions, what one leaves uncovered of another, and gaps.

/// From and to, in seconds.
pub(super) type Interval = (f64, f64);

/// The union: disjoint, in order. Intervals that end before they begin count for nothing.
pub(super) fn union(mut intervals: Vec<Interval>) -> Vec<Interval> {
    intervals.retain(|(from, to)| to > from);
    intervals.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut merged: Vec<Interval> = Vec::new();
    for (from, to) in intervals {
        match merged.last_mut() {
            Some(last) if from <= last.1 => last.1 = last.1.max(to),
            _ => merged.push((from, to)),
        }
    }
    merged
}

/// The length of disjoint intervals.
pub(super) fn length(disjoint: &[Interval]) -> f64 {
    // Not `sum`, which is -0 of nothing.
    disjoint.iter().fold(0.0, |sum, (from, to)| sum + (to - from))
}

/// The parts of `a` that `b` does not cover; both disjoint and in order, and so is the result.
pub(super) fn difference(a: &[Interval], b: &[Interval]) -> Vec<Interval> {
    let mut left = Vec::new();
    let mut next = 0;
    for &(from, to) in a {
        let mut from = from;
        while b.get(next).is_some_and(|(_, end)| *end <= from) {
            next += 1;
        }
        for (hole_from, hole_to) in b[next..].iter().take_while(|(begin, _)| *begin < to) {
            if *hole_from > from {
                left.push((from, *hole_from));
            }
            from = from.max(*hole_to);
        }
        if to > from {
            left.push((from, to));
        }
    }
    left
}

/// What lies between disjoint intervals in order.
pub(super) fn gaps(disjoint: &[Interval]) -> Vec<Interval> {
    disjoint.windows(2).map(|pair| (pair[0].1, pair[1].0)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlap_counts_once_and_what_is_not_covered_remains() {
        let a = union(vec![(5.0, 6.0), (0.0, 2.0), (1.0, 3.0), (4.0, 4.0), (9.0, 8.0)]);
        assert_eq!(a, [(0.0, 3.0), (5.0, 6.0)]);
        assert_eq!(length(&a), 4.0);
        assert_eq!(gaps(&a), [(3.0, 5.0)]);
        let b = [(0.5, 1.0), (2.0, 5.5), (5.75, 7.0)];
        assert_eq!(difference(&a, &b), [(0.0, 0.5), (1.0, 2.0), (5.5, 5.75)]);
        assert_eq!(difference(&a, &[]), a);
        assert!(difference(&a, &[(0.0, 10.0)]).is_empty());
        assert_eq!(difference(&[(0.0, 1.0), (2.0, 3.0)], &[(0.5, 2.5)]), [(0.0, 0.5), (2.5, 3.0)]);
    }
}
