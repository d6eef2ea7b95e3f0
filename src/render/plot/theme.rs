//! Themes: one table that says what the colours of the light theme become in the others.

use super::canvas::{Rgb, hex};
use super::marks::{BLACK, FAINT, GREY, LIGHT, OTHER, PALETTE, WHITE};
use super::text::Text;

/// What a chart is drawn for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Theme {
    /// Dark on white.
    #[default]
    Light,
    /// Light on a dark grey.
    Dark,
    /// Black and greys on white, for paper: shapes, dashes and labels carry what colours do elsewhere.
    Print,
}

/// The colour in the light theme, the dark one, and print, where the greys of series are dark enough for small marks on white.
const TABLE: [(Rgb, Rgb, Rgb); 12] = [
    (BLACK, (232, 232, 232), BLACK),
    (WHITE, (24, 26, 30), WHITE),
    (GREY, (160, 162, 166), (70, 70, 70)),
    (LIGHT, (68, 70, 76), (200, 200, 200)),
    (FAINT, (42, 44, 50), (235, 235, 235)),
    (OTHER, (120, 122, 126), (215, 215, 215)),
    (PALETTE[0], (86, 160, 220), (0, 0, 0)),
    (PALETTE[1], (226, 110, 30), (70, 70, 70)),
    (PALETTE[2], (24, 170, 130), (120, 120, 120)),
    (PALETTE[3], (212, 136, 182), (155, 155, 155)),
    (PALETTE[4], (98, 188, 236), (95, 95, 95)),
    (PALETTE[5], (236, 170, 26), (40, 40, 40)),
];

/// Of texts on coloured shapes; in no table, so that they stay as they are when a page recolours a chart.
const DARK_INK: Rgb = (17, 17, 17);
const LIGHT_INK: Rgb = (252, 252, 252);

impl Theme {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Light, Self::Dark, Self::Print];

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Light => "light",
            Self::Dark => "dark",
            Self::Print => "print",
        }
    }

    /// Each colour of the light theme as SVGs write it, and what it is in this one: for pages that recolour charts.
    pub fn replacements(self) -> Vec<(String, String)> {
        TABLE.iter().map(|(light, _, _)| (hex(*light), hex(self.paint(*light)))).collect()
    }

    /// What a colour of the light theme is in this one; colours that mean a value stay.
    pub(super) fn paint(self, color: Rgb) -> Rgb {
        let Some((light, dark, print)) = TABLE.iter().find(|(light, _, _)| *light == color) else {
            return self.scale(color);
        };
        match self {
            Self::Light => *light,
            Self::Dark => *dark,
            Self::Print => *print,
        }
    }

    /// Print has no colours: what is in no table keeps its brightness.
    fn scale(self, color: Rgb) -> Rgb {
        if self != Self::Print {
            return color;
        }
        let grey = luminance(color).round() as u8;
        (grey, grey, grey)
    }

    /// The colour of a text.
    pub(super) fn ink(self, text: &Text) -> Rgb {
        match text.over {
            None => self.paint(text.color),
            Some(under) if luminance(self.paint(under)) > 120.0 => DARK_INK,
            Some(_) => LIGHT_INK,
        }
    }
}

/// Relative luminance (ITU-R BT.709) of the values as they are, from 0 to 255.
fn luminance((r, g, b): Rgb) -> f64 {
    0.2126 * f64::from(r) + 0.7152 * f64::from(g) + 0.0722 * f64::from(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_theme_tells_the_colours_of_series_apart_and_from_the_background() {
        for theme in Theme::ALL {
            let mut seen: Vec<Rgb> = PALETTE.iter().map(|c| theme.paint(*c)).collect();
            seen.push(theme.paint(WHITE));
            for (i, a) in seen.iter().enumerate() {
                assert!(seen[i + 1..].iter().all(|b| a != b), "{}: {a:?}", theme.name());
            }
        }
    }

    #[test]
    fn text_is_readable_on_what_it_stands_on() {
        let on = |theme: Theme, color| luminance(theme.ink(&Text::new("x", 0.0, 0.0, 11.0).over(color)));
        assert!(on(Theme::Light, WHITE) < 50.0 && on(Theme::Dark, WHITE) > 200.0);
        assert!(on(Theme::Light, PALETTE[0]) > 200.0 && on(Theme::Print, PALETTE[3]) < 50.0);
    }

    #[test]
    fn a_mark_is_seen_on_the_background_in_every_theme() {
        // Contrast by WCAG 2: (lighter + 0.05) / (darker + 0.05) of linear luminance; 2.5 for what a shape tells apart too.
        let linear = |color: Rgb| {
            let channel = |c: u8| (f64::from(c) / 255.0).powf(2.2);
            0.2126 * channel(color.0) + 0.7152 * channel(color.1) + 0.0722 * channel(color.2)
        };
        for theme in Theme::ALL {
            let ground = linear(theme.paint(WHITE));
            for color in PALETTE {
                let mark = linear(theme.paint(color));
                let contrast = (ground.max(mark) + 0.05) / (ground.min(mark) + 0.05);
                assert!(contrast > 2.0, "{} {color:?}: {contrast}", theme.name());
            }
        }
    }

    #[test]
    fn print_is_grey() {
        for color in [PALETTE[1], (12, 200, 90)] {
            let (r, g, b) = Theme::Print.paint(color);
            assert!(r == g && g == b);
        }
    }
}
