//! The values of metrics and attributes: one of text, float, double and two widths of integer.

use super::wire::{Message, Value};

/// A metric's value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Scalar {
    Number(f64),
    Text(String),
}

impl Scalar {
    /// The number, where it is one.
    pub(super) fn number(&self) -> Option<f64> {
        if let Scalar::Number(value) = self { Some(*value) } else { None }
    }
}

/// Reads a value; nothing in it means that the metric is not available.
pub(super) fn scalar(message: Message<'_>) -> Option<Scalar> {
    let known =
        message.fields().map_while(Result::ok).filter_map(|field| match (field.number, field.value) {
            (1, Value::Bytes(text)) => Some(Scalar::Text(text.text())),
            (2, Value::Fixed32(bytes)) => Some(Scalar::Number(f64::from(f32::from_le_bytes(bytes)))),
            (3, Value::Fixed64(bytes)) => Some(Scalar::Number(f64::from_le_bytes(bytes))),
            (4 | 5, Value::Varint(integer)) => Some(Scalar::Number(integer as f64)),
            _ => None,
        });
    known.last()
}
