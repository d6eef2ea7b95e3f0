//! Reading the keys of a config.json: what is absent, of another type or out of range is named.

use super::super::{Family, SpecError};
use serde_json::{Map, Value};

/// The keys of a config.json; a key whose value is null is absent.
pub(super) struct Keys<'a> {
    map: &'a Map<String, Value>,
    /// Values of a Hugging Face class for keys that its files leave out: only nested configurations do that.
    defaults: &'static [(&'static str, usize)],
    pub(super) family: Family,
}

impl<'a> Keys<'a> {
    pub(super) fn new(map: &'a Map<String, Value>, family: Family) -> Self {
        Self { map, defaults: &[], family }
    }

    pub(super) fn with_defaults(self, defaults: &'static [(&'static str, usize)]) -> Self {
        Self { defaults, ..self }
    }

    pub(super) fn get(&self, key: &str) -> Option<&'a Value> {
        self.map.get(key).filter(|value| !value.is_null())
    }

    /// The value of the first of `keys` that is there, as a number of at least 1.
    pub(super) fn count(&self, keys: &[&'static str]) -> Result<usize, SpecError> {
        for key in keys {
            if let Some(count) = self.optional_count(key)? {
                return Ok(count);
            }
        }
        Err(SpecError::MissingKey { key: keys[0].to_string(), family: self.family })
    }

    /// A number of at least 1, or nothing.
    pub(super) fn optional_count(&self, key: &str) -> Result<Option<usize>, SpecError> {
        match self.optional_whole(key)? {
            Some(0) => Err(self.wrong(key, "a whole number of at least 1")),
            other => Ok(other),
        }
    }

    /// A whole number, or nothing.
    pub(super) fn optional_whole(&self, key: &str) -> Result<Option<usize>, SpecError> {
        let Some(value) = self.get(key) else {
            return Ok(self.defaults.iter().find(|(name, _)| *name == key).map(|(_, count)| *count));
        };
        let whole = value.as_u64().and_then(|n| usize::try_from(n).ok()).filter(|n| *n <= LARGEST);
        whole.map(Some).ok_or_else(|| self.wrong(key, "a whole number of at least 1 and at most 2^31"))
    }

    pub(super) fn number(&self, key: &str) -> Result<Option<f64>, SpecError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let number = value.as_f64().filter(|n| n.is_finite());
        number.map(Some).ok_or_else(|| self.wrong(key, "a number"))
    }

    pub(super) fn flag(&self, key: &str, default: bool) -> Result<bool, SpecError> {
        let Some(value) = self.get(key) else { return Ok(default) };
        value.as_bool().ok_or_else(|| self.wrong(key, "true or false"))
    }

    pub(super) fn text(&self, key: &str) -> Result<Option<&'a str>, SpecError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        value.as_str().map(Some).ok_or_else(|| self.wrong(key, "a text"))
    }

    pub(super) fn list(&self, key: &str) -> Result<Option<&'a [Value]>, SpecError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        value.as_array().map(|list| Some(list.as_slice())).ok_or_else(|| self.wrong(key, "a list"))
    }

    /// The keys inside the object at `key`.
    pub(super) fn inside(&self, key: &str) -> Result<Option<Keys<'a>>, SpecError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let map = value.as_object().ok_or_else(|| self.wrong(key, "an object"))?;
        Ok(Some(Keys::new(map, self.family)))
    }

    pub(super) fn wrong(&self, key: &str, wanted: &str) -> SpecError {
        let found = self.get(key).map_or("absent".to_string(), ToString::to_string);
        let found: String = found.chars().take(60).collect();
        SpecError::Field(format!("'{key}' is {found}, not {wanted}"))
    }
}

/// No width, count or length of a model is larger; products of two fit into 64 bits.
const LARGEST: usize = 1 << 31;
