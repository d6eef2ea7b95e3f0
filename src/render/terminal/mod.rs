//! Charts made of characters: for terminals without pictures, over ssh, in logs.

mod bars;
mod roofline;

pub use bars::{bar, phase_bars};
pub use roofline::{TerminalRoofline, roofline_text};

/// The characters that charts are made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Glyphs {
    /// Blocks and lines of Unicode.
    #[default]
    Unicode,
    /// Those of ASCII, which every terminal and font has.
    Ascii,
}

impl Glyphs {
    /// ASCII where `ascii` asks for it.
    pub fn of(ascii: bool) -> Self {
        if ascii { Self::Ascii } else { Self::Unicode }
    }

    fn pick(self, unicode: char, ascii: char) -> char {
        match self {
            Self::Unicode => unicode,
            Self::Ascii => ascii,
        }
    }
}
