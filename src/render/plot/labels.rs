//! Placing labels where they cover neither each other nor a marker nor, if it can be had, a line.

use super::canvas::Area;
use super::text::{Anchor, Text};

type Segment = ((f64, f64), (f64, f64));

/// What is already on the chart.
pub(super) struct Obstacles {
    frame: Area,
    taken: Vec<Area>,
    /// Those of `taken` that are texts, which no leader line should strike through.
    texts: Vec<Area>,
    lines: Vec<Segment>,
    /// Lines from points to their labels, which no other label should stand on.
    leaders: Vec<Segment>,
}

impl Obstacles {
    pub(super) fn new(frame: Area) -> Self {
        Self { frame, taken: Vec::new(), texts: Vec::new(), lines: Vec::new(), leaders: Vec::new() }
    }

    pub(super) fn add_area(&mut self, area: Area) {
        self.taken.push(area);
    }

    pub(super) fn add_line(&mut self, from: (f64, f64), to: (f64, f64)) {
        self.lines.push((from, to));
    }

    /// The first candidate that is free, also of lines if any such is; it is then taken.
    pub(super) fn place(&mut self, candidates: &[Text]) -> Option<Text> {
        let at = self.best(candidates, |_| true)?;
        Some(self.take(&candidates[at]))
    }

    /// The same of labels of a point, with the line that leads from its mark to one that stands apart from it: if it can be had,
    /// one that strikes no text through and a label that stands on no other's.
    pub(super) fn place_beside(
        &mut self,
        candidates: &[Text],
        point: (f64, f64),
        radius: f64,
    ) -> Option<(Text, Option<Segment>)> {
        let is_apart = |t: &Text| {
            let leader = leader(&t.area(), point, radius);
            leader.is_none_or(|leader| !self.texts.iter().any(|text| is_crossed(text, &[leader])))
                && !t.areas().into_iter().map(padded).any(|a| is_crossed(&a, &self.leaders))
        };
        let at = self.best(candidates, is_apart).or_else(|| self.best(candidates, |_| true))?;
        let label = self.take(&candidates[at]);
        let leader = leader(&label.area(), point, radius);
        self.leaders.extend(leader);
        Some((label, leader))
    }

    /// Which of the `wanted` candidates is free, best of lines too.
    fn best(&self, candidates: &[Text], wanted: impl Fn(&Text) -> bool) -> Option<usize> {
        let areas = |t: &Text| t.areas().into_iter().map(padded);
        let is_free = |a: Area| self.frame.contains(&a) && !self.taken.iter().any(|taken| taken.overlaps(&a));
        let free = |t: &Text| areas(t).all(is_free) && wanted(t);
        let clear = |t: &Text| !areas(t).any(|a| is_crossed(&a, &self.lines));
        let first = candidates.iter().position(|t| free(t) && clear(t));
        first.or_else(|| candidates.iter().position(free))
    }

    fn take(&mut self, chosen: &Text) -> Text {
        let areas: Vec<Area> = chosen.areas().into_iter().map(padded).collect();
        self.taken.extend(areas.iter().copied());
        self.texts.extend(areas);
        chosen.clone()
    }
}

fn is_crossed(area: &Area, lines: &[Segment]) -> bool {
    lines.iter().any(|(from, to)| crosses(area, *from, *to))
}

fn padded(area: Area) -> Area {
    Area { x0: area.x0 - 2.0, y0: area.y0 - 1.0, x1: area.x1 + 2.0, y1: area.y1 + 1.0 }
}

/// Whether the segment passes through the area (Liang and Barsky 1984).
fn crosses(area: &Area, from: (f64, f64), to: (f64, f64)) -> bool {
    let (dx, dy) = (to.0 - from.0, to.1 - from.1);
    let (mut enter, mut leave) = (0.0f64, 1.0f64);
    let sides =
        [(-dx, from.0 - area.x0), (dx, area.x1 - from.0), (-dy, from.1 - area.y0), (dy, area.y1 - from.1)];
    for (p, q) in sides {
        if p == 0.0 {
            if q < 0.0 {
                return false;
            }
        } else if p < 0.0 {
            enter = enter.max(q / p);
        } else {
            leave = leave.min(q / p);
        }
    }
    enter < leave
}

/// How far from a point its label may stand; farther than the first, a leader line joins them.
const DISTANCES: [f64; 7] = [11.0, 20.0, 32.0, 46.0, 62.0, 80.0, 100.0];

/// Whether a label at this distance needs a leader line.
pub(super) fn needs_leader(label: &Area, x: f64, y: f64) -> bool {
    let dx = (label.x0 - x).max(x - label.x1).max(0.0);
    let dy = (label.y0 - y).max(y - label.y1).max(0.0);
    dx.hypot(dy) > DISTANCES[0] + 4.0
}

/// The line from the edge of a mark to its label, where that needs one.
fn leader(label: &Area, (x, y): (f64, f64), radius: f64) -> Option<Segment> {
    let end = (x.clamp(label.x0, label.x1), y.clamp(label.y0, label.y1));
    let part = radius / (end.0 - x).hypot(end.1 - y);
    let start = (x + (end.0 - x) * part, y + (end.1 - y) * part);
    needs_leader(label, x, y).then_some((start, end))
}

/// Positions around a point: right, left, above, below, the corners; near ones first.
pub(super) fn around(text: &str, x: f64, y: f64, size: f64) -> Vec<Text> {
    let at = |dx: f64, dy: f64, anchor| Text::new(text, x + dx, y + dy, size).anchored(anchor);
    DISTANCES
        .into_iter()
        .flat_map(|d| {
            let diagonal = 0.75 * d;
            [
                at(d, 0.0, Anchor::Start),
                at(-d, 0.0, Anchor::End),
                at(diagonal, -diagonal, Anchor::Start),
                at(diagonal, diagonal, Anchor::Start),
                at(-diagonal, -diagonal, Anchor::End),
                at(-diagonal, diagonal, Anchor::End),
                at(0.0, -d - 3.0, Anchor::Middle),
                at(0.0, d + 3.0, Anchor::Middle),
            ]
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame() -> Area {
        Area { x0: 0.0, y0: 0.0, x1: 400.0, y1: 300.0 }
    }

    #[test]
    fn labels_of_near_points_do_not_overlap() {
        let mut obstacles = Obstacles::new(frame());
        let points: Vec<(f64, f64)> =
            (0..12).map(|i| (200.0 + f64::from(i % 4) * 9.0, 150.0 + f64::from(i / 4) * 9.0)).collect();
        for (x, y) in &points {
            obstacles.add_area(Area::around(*x, *y, 5.0));
        }
        let placed: Vec<Area> = points
            .iter()
            .filter_map(|(x, y)| obstacles.place(&around("12", *x, *y, 11.0)))
            .map(|t| t.area())
            .collect();
        assert!(placed.len() >= 8, "{}", placed.len());
        for (i, a) in placed.iter().enumerate() {
            assert!(placed[i + 1..].iter().all(|b| !a.overlaps(b)));
            assert!(points.iter().all(|(x, y)| !a.overlaps(&Area::around(*x, *y, 5.0))));
        }
    }

    #[test]
    fn lines_are_avoided_while_there_is_another_place() {
        let mut obstacles = Obstacles::new(frame());
        obstacles.add_line((200.0, 150.0), (400.0, 150.0));
        let label = obstacles.place(&around("a name", 200.0, 150.0, 11.0)).unwrap();
        assert!(!crosses(&label.area(), (200.0, 150.0), (400.0, 150.0)));
    }

    #[test]
    fn a_leader_keeps_off_other_labels_while_there_is_another_place() {
        let mut obstacles = Obstacles::new(frame());
        let text = |x: f64, y: f64| Text::new("12", x, y, 11.0);
        let first = obstacles.place(&[text(220.0, 150.0)]).unwrap();
        let (behind, below) = (text(300.0, 150.0), text(200.0, 220.0));
        let (label, leader) = obstacles.place_beside(&[behind.clone(), below], (200.0, 150.0), 6.0).unwrap();
        let (from, to) = leader.unwrap();
        assert_eq!((label.x, label.y), (200.0, 220.0));
        assert!(!crosses(&first.area(), from, to));
        // Nor does another label stand on the line.
        let beside = [text(195.0, 190.0), text(260.0, 190.0)];
        let (label, _) = obstacles.place_beside(&beside, (230.0, 190.0), 6.0).unwrap();
        assert_eq!(label.x, 260.0);
        // A number that is struck through is better than none.
        let (label, _) = obstacles.place_beside(&[behind], (200.0, 150.0), 6.0).unwrap();
        assert_eq!(label.x, 300.0);
    }

    #[test]
    fn where_nothing_fits_there_is_no_label() {
        let mut obstacles = Obstacles::new(Area { x0: 0.0, y0: 0.0, x1: 20.0, y1: 20.0 });
        assert!(obstacles.place(&around("far too long a name", 10.0, 10.0, 11.0)).is_none());
    }
}
