//! tokenizer.json files, read by Hugging Face's own crate (which candle brings along).

use super::TokenError;
use std::fmt;
use std::path::{Path, PathBuf};

/// A tokenizer.json.
#[derive(Debug)]
pub struct TokenizerFile {
    path: PathBuf,
    tokenizer: tokenizers::Tokenizer,
}

impl fmt::Display for TokenizerFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.file_name().unwrap_or(self.path.as_os_str()).to_string_lossy())
    }
}

impl TokenizerFile {
    pub(super) fn read(path: &Path) -> Result<Self, TokenError> {
        let bytes =
            std::fs::read(path).map_err(|source| TokenError::Read { path: path.to_path_buf(), source })?;
        let tokenizer = tokenizers::Tokenizer::from_bytes(bytes).map_err(|e| failed(path, &*e))?;
        Ok(Self { path: path.to_path_buf(), tokenizer })
    }

    /// One more than the largest id, so that files with gaps count whole.
    pub(super) fn tokens(&self) -> usize {
        self.tokenizer.get_vocab(true).values().max().map_or(0, |largest| *largest as usize + 1)
    }

    /// The tokens, with what the file adds at the beginning (Llama's `<s>`), and where each ends in the text.
    pub(super) fn encode(&self, text: &str) -> Result<(Vec<u32>, Vec<usize>), TokenError> {
        let encoding = self.tokenizer.encode(text, true).map_err(|e| failed(&self.path, &*e))?;
        let ends = encoding.get_offsets().iter().map(|(_, end)| *end).collect();
        Ok((encoding.get_ids().to_vec(), ends))
    }
}

fn failed(path: &Path, error: &dyn std::error::Error) -> TokenError {
    TokenError::File { path: path.to_path_buf(), message: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::super::Tokenizer;
    use crate::llm::preset;

    const WORDS: &str = r#"{"version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
        "pre_tokenizer": {"type": "Whitespace"}, "post_processor": null, "decoder": null,
        "model": {"type": "WordLevel", "vocab": {"[UNK]": 0, "one": 1, "två": 2, ".": 3}, "unk_token": "[UNK]"}}"#;

    #[test]
    fn a_file_gives_tokens_and_the_bytes_they_stand_for_and_has_to_match_the_model() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokenizer.json");
        std::fs::write(&path, WORDS).unwrap();
        let mut spec = preset("tiny-llama").unwrap();
        spec.vocab_size = 4;
        let tokenizer = Tokenizer::of_model(&spec, Some(folder.path()), None).unwrap();
        assert_eq!(tokenizer.to_string(), "tokenizer.json");
        let text = tokenizer.encode("one två three.").unwrap();
        assert_eq!(text.ids, [1, 2, 0, 3]);
        // Spaces count to the word after them: 3, 1 + 4 in UTF-8, 1 + 5, 1.
        assert_eq!((text.bytes, text.characters), (vec![3, 5, 6, 1], vec![3, 4, 6, 1]));
        spec.vocab_size = 3;
        let error = Tokenizer::of_model(&spec, Some(folder.path()), None).unwrap_err().to_string();
        assert!(
            error.ends_with("does not match tiny-llama: it has 4 tokens, the model's vocabulary 3"),
            "{error}"
        );
        std::fs::write(&path, "{}").unwrap();
        let error = Tokenizer::of_model(&spec, Some(folder.path()), None).unwrap_err().to_string();
        assert!(error.contains("tokenizer.json: "), "{error}");
    }
}
