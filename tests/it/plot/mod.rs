//! Every figure that `kprof plot` draws: it can be drawn, looks as it did, is the same each time, and no label of it
//! covers another or leaves the picture. And the command itself.

mod command;
mod inputs;
mod recorded;

use inputs::inputs;
use kprof::render::plot::{Area, ChartOptions, FIGURES, Figure, FigureInput, FigureKind, Theme, to_png};
use std::path::{Path, PathBuf};

const SIZES: [Option<(u32, u32)>; 3] = [None, Some((640, 400)), Some((1600, 1000))];

fn options(theme: Theme, size: Option<(u32, u32)>) -> ChartOptions {
    let footer = "kprof 0.1.0 (abc1234) · Example CPU · tiny f32 on cpu · 2026-01-02T03:04:05Z · run.jsonl";
    ChartOptions { footer: footer.to_string(), theme, size, ..ChartOptions::default() }
}

/// The figure of the first input that has the records for it.
fn drawn(kind: &FigureKind, inputs: &[(&str, FigureInput)], options: &ChartOptions) -> Figure {
    let found = inputs.iter().find_map(|(_, input)| kind.draw(input, options).ok());
    found.unwrap_or_else(|| panic!("no input of this test has the records of {}: add one", kind.name))
}

/// What is wrong with a figure's texts.
fn collision(figure: &Figure) -> Option<String> {
    let picture = Area { x0: 0.0, y0: 0.0, x1: figure.width.into(), y1: figure.height.into() };
    for (i, a) in figure.texts.iter().enumerate() {
        if !picture.contains(&a.area) {
            return Some(format!("'{}' leaves the picture: {:?}", a.text, a.area));
        }
        let later = figure.texts[i + 1..].iter().filter(|b| b.number != a.number);
        if let Some(b) = later.into_iter().find(|b| a.area.overlaps(&b.area)) {
            return Some(format!("'{}' at {:?} and '{}' at {:?} overlap", a.text, a.area, b.text, b.area));
        }
    }
    None
}

/// KPROF_LOOK=FOLDER writes every figure there as PNG, to be looked at.
fn look(name: &str, figure: &Figure) {
    if let Some(folder) = std::env::var_os("KPROF_LOOK") {
        std::fs::write(PathBuf::from(folder).join(format!("{name}.png")), to_png(&figure.svg).unwrap())
            .unwrap();
    }
}

#[test]
fn no_label_of_any_figure_covers_another_at_any_size() {
    let mut wrong = Vec::new();
    for (source, input) in &inputs() {
        for kind in FIGURES {
            for size in SIZES {
                let Ok(figure) = kind.draw(input, &options(Theme::Light, size)) else { continue };
                let name = format!("{}-{source}-{}x{}", kind.name, figure.width, figure.height);
                look(&name, &figure);
                wrong.extend(collision(&figure).map(|what| format!("{name}: {what}")));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn every_figure_looks_as_it_did() {
    let inputs = inputs();
    for kind in FIGURES {
        let svg = drawn(kind, &inputs, &options(Theme::Light, None)).svg;
        golden(&format!("figures/{}.svg", kind.name), &svg);
    }
}

/// Compares with `tests/golden/<name>`; KPROF_BLESS=1 rewrites it.
fn golden(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("KPROF_BLESS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        return std::fs::write(&path, text).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    let differs = expected.lines().zip(text.lines()).position(|(a, b)| a != b);
    let line = differs.unwrap_or(expected.lines().count().min(text.lines().count())) + 1;
    assert!(expected == text, "{}:{line} differs; KPROF_BLESS=1 rewrites it", path.display());
}

#[test]
fn drawing_twice_gives_the_same_bytes_and_other_themes_other_colours() {
    let inputs = inputs();
    for kind in FIGURES {
        let once = |theme| drawn(kind, &inputs, &options(theme, None));
        assert_eq!(once(Theme::Light), once(Theme::Light), "{}", kind.name);
        for theme in [Theme::Dark, Theme::Print] {
            let other = once(theme);
            assert_eq!(other.texts, once(Theme::Light).texts, "{} {}", kind.name, theme.name());
            assert_ne!(other.svg, once(Theme::Light).svg, "{} {}", kind.name, theme.name());
            look(&format!("{}-{}", kind.name, theme.name()), &other);
        }
    }
}

#[test]
fn print_has_no_colour() {
    let inputs = inputs();
    for kind in FIGURES {
        let svg = drawn(kind, &inputs, &options(Theme::Print, None)).svg;
        for (at, _) in svg.match_indices("=\"#") {
            let hex = &svg[at + 3..at + 9];
            assert!(hex[..2] == hex[2..4] && hex[2..4] == hex[4..], "{}: #{hex}", kind.name);
        }
    }
}

#[test]
fn a_size_asked_for_is_the_width_and_the_least_height() {
    let inputs = inputs();
    for kind in FIGURES {
        let figure = drawn(kind, &inputs, &options(Theme::Light, Some((1500, 900))));
        assert!(figure.height >= 900, "{}", kind.name);
        assert!((1490..=1500).contains(&figure.width), "{}: {}", kind.name, figure.width);
    }
}

#[test]
fn every_figure_has_axes_with_units_and_says_where_it_comes_from() {
    let inputs = inputs();
    for kind in FIGURES {
        let figure = drawn(kind, &inputs, &options(Theme::Light, None));
        assert!(figure.texts.iter().any(|t| t.text.contains("abc1234")), "{}", kind.name);
        let unit = |text: &str| {
            text.contains(" [") && text.ends_with(']') || text.starts_with("layer") || text == "speed-up"
        };
        assert!(figure.texts.iter().any(|t| unit(&t.text)), "{}: no unit", kind.name);
    }
}

#[test]
fn names_of_figures_are_what_files_may_be_called_and_each_has_its_own() {
    for (i, kind) in FIGURES.iter().enumerate() {
        assert!(kind.name.chars().all(|c| c.is_ascii_lowercase() || c == '-'), "{}", kind.name);
        assert!(FIGURES[i + 1..].iter().all(|other| other.name != kind.name), "{}", kind.name);
        assert!(kind.command.starts_with("kprof "), "{}", kind.command);
    }
}
