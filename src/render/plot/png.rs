//! PNG from the same SVG, with the embedded font.

use super::font;
use resvg::tiny_skia::{Pixmap, Transform};
use resvg::usvg::{Options, Tree, fontdb};
use std::sync::Arc;

/// Pixels of the PNG per pixel of the SVG.
const SCALE: f32 = 2.0;

/// Why an SVG did not become a PNG.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PngError {
    /// The SVG cannot be read.
    #[error("cannot draw the SVG: {0}")]
    Svg(String),
    /// The picture is too large, or empty.
    #[error("cannot draw a picture of {width} x {height} pixels")]
    Size {
        /// Its width.
        width: u32,
        /// Its height.
        height: u32,
    },
    /// The picture cannot be written as PNG.
    #[error("cannot write the picture as PNG: {0}")]
    Encode(String),
}

/// Draws an SVG made here at twice its size. Fonts of the system are not looked at.
///
/// # Errors
/// When the text is no SVG, or the picture too large for memory.
pub fn to_png(svg: &str) -> Result<Vec<u8>, PngError> {
    let mut fonts = fontdb::Database::new();
    for face in font::faces() {
        fonts.load_font_data(face.to_vec());
    }
    fonts.set_sans_serif_family("DejaVu Sans");
    let options =
        Options { fontdb: Arc::new(fonts), font_family: "DejaVu Sans".into(), ..Options::default() };
    let tree = Tree::from_str(svg, &options).map_err(|e| PngError::Svg(e.to_string()))?;
    let size = tree.size();
    let (width, height) = ((size.width() * SCALE).ceil() as u32, (size.height() * SCALE).ceil() as u32);
    let mut pixmap = Pixmap::new(width, height).ok_or(PngError::Size { width, height })?;
    resvg::render(&tree, Transform::from_scale(SCALE, SCALE), &mut pixmap.as_mut());
    pixmap.encode_png().map_err(|e| PngError::Encode(e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::super::canvas::Canvas;
    use super::super::text::Text;
    use super::super::theme::Theme;
    use super::*;

    #[test]
    fn text_is_drawn_without_any_font_of_the_system() {
        let mut canvas = Canvas::new(60, 20, Theme::Light);
        canvas.text(Text::new("kprof", 5.0, 10.0, 14.0));
        let png = to_png(&canvas.finish().svg).unwrap();
        let picture = Pixmap::decode_png(&png).unwrap();
        assert_eq!((picture.width(), picture.height()), (120, 40));
        let dark = picture.pixels().iter().filter(|p| p.red() < 100).count();
        assert!(dark > 50, "{dark} dark pixels");
    }

    #[test]
    fn what_is_no_svg_is_an_error() {
        assert!(matches!(to_png("hello"), Err(PngError::Svg(_))));
    }
}
