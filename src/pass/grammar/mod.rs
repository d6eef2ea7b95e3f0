//! Text from a known source, so that the best possible perplexity is known before any model has seen a byte of it.
//!
//! A text is a rule (`---------------`) and then stories, each of [`STORY_BYTES`] bytes in lines of [`LINE_BYTES`],
//! drawn independently:
//!
//! ```text
//! Kifa: blue drum      four people are introduced, each with a colour and a thing
//! Toma: teal book
//! ...
//! book: teal Toma      ten lines follow, each a recall by thing, a recall by person, a meeting, or brackets
//! Kifa: blue drum
//! Toma sees Kifa.
//! ([]{})[()]{[]}.
//! ---------------      the rule ends the story
//! ```
//!
//! What was introduced is not to be guessed afterwards: it has to be read back from up to 220 bytes earlier, and a
//! closing bracket from its opening one. A model whose cache loses or misplaces tokens pays for it in every line.
//!
//! Different choices give different bytes at every point, so that the entropy of a text is the sum of the entropies of
//! its choices ([`story_bits`]), and the surprise of one very text is the sum over those that it made.

mod brackets;

use brackets::Brackets;
use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{Rng, SeedableRng};

/// Bytes of a line, its end included.
pub const LINE_BYTES: usize = 16;
/// Lines of a story: introductions, others, and the rule.
const STORY_LINES: usize = PEOPLE + OTHER_LINES + 1;
/// Bytes of a story, the rule at its end included.
pub const STORY_BYTES: usize = LINE_BYTES * STORY_LINES;
/// The rule before the first story and at the end of each.
const RULE: &str = "---------------\n";

const PEOPLE: usize = 4;
const OTHER_LINES: usize = 10;

/// First letters of people; no two of a story are the same.
const INITIALS: &[u8; 16] = b"BDFGHJKLMNPRSTVZ";
const CONSONANTS: &[u8; 16] = b"bdfghjklmnprstvz";
const VOWELS: &[u8; 4] = b"aeio";
const COLOURS: [&str; 8] = ["blue", "gold", "grey", "jade", "lime", "pink", "ruby", "teal"];
/// Things, told apart by their first letters; no two of a story are the same.
const THINGS: [&str; 8] = ["book", "coin", "drum", "fork", "kite", "lamp", "ring", "seed"];

/// What a line after the introductions is, and how probable: probabilities of a sum of 1.
const KINDS: [(Kind, f64); 4] =
    [(Kind::ByThing, 0.35), (Kind::ByPerson, 0.25), (Kind::Meeting, 0.2), (Kind::Brackets, 0.2)];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A thing, its colour and who has it.
    ByThing,
    /// An introduction, once more.
    ByPerson,
    /// Two people.
    Meeting,
    /// Seven pairs of nested brackets.
    Brackets,
}

/// A text of this source.
#[derive(Clone, Debug, PartialEq)]
pub struct GrammarText {
    /// The text, in ASCII.
    pub bytes: Vec<u8>,
    /// -log2 of the probability with which the source makes this very text: what the best possible model pays for it.
    pub bits: f64,
}

/// The text of `stories` stories by this seed: [`LINE_BYTES`] + `stories` x [`STORY_BYTES`] bytes.
pub fn grammar_text(seed: u64, stories: usize) -> GrammarText {
    let mut choices = Choices { rng: Xoshiro256PlusPlus::seed_from_u64(seed), bits: 0.0 };
    let mut text = String::with_capacity(LINE_BYTES + stories * STORY_BYTES);
    text.push_str(RULE);
    for _ in 0..stories {
        story(&mut choices, &mut text);
    }
    GrammarText { bytes: text.into_bytes(), bits: choices.bits }
}

/// The entropy of a story in bits: the sum over its choices.
///
/// - introductions: log2(16 15 14 13) first letters, 4 log2(4 16 4) other letters, 4 log2 8 colours,
///   log2(8 7 6 5) things;
/// - each other line: the entropy of its kind, and with that kind's probability log2 4 for a recall, log2(4 3) for a
///   meeting, log2(429 3^7) for brackets: 429 is the number of ways to nest 7 pairs (Catalan), 3 the kinds of bracket.
///
/// Per byte it is this over [`STORY_BYTES`]: stories are independent and of one length.
pub fn story_bits() -> f64 {
    let introductions = falling(INITIALS.len()) + falling(THINGS.len());
    let letters = VOWELS.len() * CONSONANTS.len() * VOWELS.len();
    let each = ((letters * COLOURS.len()) as f64).log2();
    let line: f64 = KINDS.iter().map(|(kind, p)| p * (kind.bits() - p.log2())).sum();
    introductions + PEOPLE as f64 * each + OTHER_LINES as f64 * line
}

/// log2 of the ways to pick one after the other as many of `n` as there are people.
fn falling(n: usize) -> f64 {
    (0..PEOPLE).map(|i| ((n - i) as f64).log2()).sum()
}

impl Kind {
    /// The entropy of a line of this kind.
    fn bits(self) -> f64 {
        let people = PEOPLE as f64;
        match self {
            Self::ByThing | Self::ByPerson => people.log2(),
            Self::Meeting => (people * (people - 1.0)).log2(),
            Self::Brackets => Brackets::bits(),
        }
    }
}

/// Random choices and what they cost.
struct Choices {
    rng: Xoshiro256PlusPlus,
    bits: f64,
}

impl Choices {
    /// One of `n`, all as probable.
    fn below(&mut self, n: usize) -> usize {
        self.bits += (n as f64).log2();
        // The high half of a widening multiplication (Lemire 2019): the bias is at most n / 2^64.
        ((u128::from(self.rng.next_u64()) * n as u128) >> 64) as usize
    }

    /// Whether something of probability `p` happens.
    fn happens(&mut self, p: f64) -> bool {
        let happens = self.unit() < p;
        self.bits -= if happens { p } else { 1.0 - p }.log2();
        happens
    }

    fn kind(&mut self) -> Kind {
        let mut left = self.unit();
        // The last kind takes what rounding leaves.
        let chosen = KINDS.iter().find(|(_, p)| {
            left -= p;
            left < 0.0
        });
        let (kind, p) = chosen.copied().unwrap_or(KINDS[KINDS.len() - 1]);
        self.bits -= p.log2();
        kind
    }

    /// Uniform in [0, 1), by the top 53 bits.
    fn unit(&mut self) -> f64 {
        (self.rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// As many different ones of `all` as there are people, in the order drawn.
    fn distinct<T: Copy>(&mut self, all: &[T]) -> Vec<T> {
        let mut left = all.to_vec();
        (0..PEOPLE).map(|_| left.remove(self.below(left.len()))).collect()
    }

    fn letter(&mut self, of: &[u8]) -> char {
        char::from(of[self.below(of.len())])
    }
}

struct Person {
    name: String,
    colour: &'static str,
    thing: &'static str,
}

fn story(choices: &mut Choices, text: &mut String) {
    let people = introduced(choices);
    people.iter().for_each(|person| introduction(person, text));
    for _ in 0..OTHER_LINES {
        match choices.kind() {
            Kind::ByThing => {
                let Person { name, colour, thing } = &people[choices.below(PEOPLE)];
                text.extend([thing, ": ", colour, " ", name, "\n"]);
            }
            Kind::ByPerson => introduction(&people[choices.below(PEOPLE)], text),
            Kind::Meeting => {
                let first = choices.below(PEOPLE);
                let second = (first + 1 + choices.below(PEOPLE - 1)) % PEOPLE;
                text.extend([&people[first].name, " sees ", &people[second].name, ".\n"]);
            }
            Kind::Brackets => {
                Brackets::draw(choices, text);
                text.push_str(".\n");
            }
        }
    }
    text.push_str(RULE);
}

fn introduced(choices: &mut Choices) -> Vec<Person> {
    let initials = choices.distinct(INITIALS);
    let things = choices.distinct(&THINGS);
    let person = |(initial, thing): (u8, &'static str)| {
        let letters = [VOWELS.as_slice(), CONSONANTS, VOWELS].map(|of| choices.letter(of));
        let name = std::iter::once(char::from(initial)).chain(letters).collect();
        Person { name, colour: COLOURS[choices.below(COLOURS.len())], thing }
    };
    initials.into_iter().zip(things).map(person).collect()
}

fn introduction(person: &Person, text: &mut String) {
    text.extend([&person.name, ": ", person.colour, " ", person.thing, "\n"]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_entropy_of_a_story_is_what_the_arithmetic_by_hand_gives() {
        // log2 43680 = 15.41468, log2 1680 = 10.71425, 4 (8 + 3) = 44: introductions 70.12893.
        // Kinds: -(.35 log2 .35 + .25 log2 .25 + 2 x .2 log2 .2) = .5301 + .5 + .92877 = 1.95887;
        // lines: .6 x 2 + .2 log2 12 + .2 (log2 429 + 7 log2 3) = 1.2 + .71699 + .2 (8.74483 + 11.09474) = 5.88491;
        // 10 (1.95887 + 5.88491) = 78.43780.
        assert!((story_bits() - 148.5667).abs() < 1e-3, "{}", story_bits());
        assert_eq!((LINE_BYTES, STORY_BYTES), (16, 240));
    }

    #[test]
    fn the_surprise_of_a_long_text_is_its_entropy() {
        let text = grammar_text(1, 4000);
        assert_eq!(text.bytes.len(), 16 + 4000 * 240);
        // A line's surprise has a standard deviation of about 8 bits (brackets or not), so a story's of about 25, and the
        // mean of 4000 of about 0.4.
        let mean = text.bits / 4000.0;
        assert!((mean - story_bits()).abs() < 1.5, "{mean}");
        assert_eq!(text, grammar_text(1, 4000));
        assert_ne!(text.bytes, grammar_text(2, 4000).bytes);
    }

    #[test]
    fn every_line_has_one_length_and_says_what_was_introduced() {
        let text = String::from_utf8(grammar_text(3, 200).bytes).unwrap();
        assert!(text.is_ascii() && text.starts_with(RULE));
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines.iter().all(|line| line.len() == 15), "a line of another length");
        for story in lines[1..].chunks(STORY_LINES) {
            let known: Vec<(&str, &str, &str)> =
                story[..PEOPLE].iter().map(|line| (&line[..4], &line[6..10], &line[11..])).collect();
            for line in &story[PEOPLE..STORY_LINES - 1] {
                let names = |name: &str| known.iter().any(|(n, _, _)| *n == name);
                let holds = match line.as_bytes()[4] {
                    b':' if known.contains(&(&line[..4], &line[6..10], &line[11..])) => true,
                    b':' => known.contains(&(&line[11..], &line[6..10], &line[..4])),
                    b' ' => names(&line[..4]) && names(&line[10..14]) && line[..4] != line[10..14],
                    _ => line.ends_with('.') && "([{".contains(&line[..1]),
                };
                assert!(holds, "{line} in {story:?}");
            }
            assert_eq!(story[STORY_LINES - 1], RULE.trim_end());
        }
    }
}
