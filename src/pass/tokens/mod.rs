//! From text to the tokens that a model was trained on: bytes, GPT-2's byte pairs, or what a tokenizer.json says.

mod file;

use crate::llm::{Family, ModelSpec};
pub use file::TokenizerFile;
use std::fmt;
use std::path::{Path, PathBuf};

/// Tokens of GPT-2's vocabulary, `<|endoftext|>` included.
const GPT2_VOCAB: usize = 50_257;

/// Why a text has no tokens, or not those of the model.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A text in another encoding.
    #[error("{}: not UTF-8: byte 0x{byte:02x} at offset {offset} begins no character; convert it, e.g. with iconv", path.display())]
    NotUtf8 {
        /// The file.
        path: PathBuf,
        /// The position of the byte, from 0.
        offset: usize,
        /// The byte.
        byte: u8,
    },
    /// Nothing says what tokens the model was trained on.
    #[error(
        "{model} has a vocabulary of {vocab} and {place}; name a tokenizer with --tokenizer: bytes, gpt2, or a tokenizer.json"
    )]
    Unknown {
        /// The model.
        model: String,
        /// Its vocabulary.
        vocab: usize,
        /// Where was looked.
        place: String,
    },
    /// A tokenizer of another model.
    #[error(
        "the tokenizer {tokenizer} does not match {model}: it has {tokens} tokens, the model's vocabulary {vocab}"
    )]
    Mismatch {
        /// The tokenizer.
        tokenizer: String,
        /// How many tokens it has.
        tokens: usize,
        /// The model.
        model: String,
        /// Its vocabulary.
        vocab: usize,
    },
    /// A tokenizer's file that says nothing usable, or a text that it does not take.
    #[error("{}: {message}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
}

/// Turns text into tokens.
#[derive(Debug)]
pub enum Tokenizer {
    /// Every byte is a token.
    Bytes,
    /// The byte pairs of GPT-2 (Radford et al. 2019), whose vocabulary is inside kprof. `<|endoftext|>` in a text is text.
    Gpt2,
    /// A tokenizer.json.
    File(Box<TokenizerFile>),
}

/// A text's tokens, and how much of the text each stands for.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenisedText {
    /// The tokens.
    pub ids: Vec<u32>,
    /// Bytes of the text that each token stands for.
    pub bytes: Vec<usize>,
    /// Characters that begin in those bytes.
    pub characters: Vec<usize>,
}

impl fmt::Display for Tokenizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes => f.write_str("bytes"),
            Self::Gpt2 => f.write_str("gpt2"),
            Self::File(file) => write!(f, "{file}"),
        }
    }
}

impl Tokenizer {
    /// The tokenizer of a model: the one `asked` for (`bytes`, `gpt2`, or a file), else bytes for a vocabulary of 256,
    /// GPT-2's for a GPT-2 of its vocabulary, else the tokenizer.json in the model's `folder`.
    ///
    /// # Errors
    /// When there is none, it cannot be read, or it does not match the model's vocabulary.
    pub fn of_model(
        spec: &ModelSpec,
        folder: Option<&Path>,
        asked: Option<&str>,
    ) -> Result<Self, TokenError> {
        let in_folder = folder.map(|folder| folder.join("tokenizer.json"));
        let tokenizer = match asked {
            Some("bytes") => Self::Bytes,
            Some("gpt2") => Self::Gpt2,
            Some(path) => Self::File(Box::new(TokenizerFile::read(Path::new(path))?)),
            None if spec.vocab_size == 256 => Self::Bytes,
            None if spec.model_type == Family::Gpt2 && is_padded(GPT2_VOCAB, spec.vocab_size) => Self::Gpt2,
            None => match in_folder.filter(|path| path.exists()) {
                Some(path) => Self::File(Box::new(TokenizerFile::read(&path)?)),
                None => return Err(unknown(spec, folder)),
            },
        };
        let tokens = tokenizer.tokens();
        if is_padded(tokens, spec.vocab_size) {
            return Ok(tokenizer);
        }
        let (model, vocab) = (spec.name.clone(), spec.vocab_size);
        Err(TokenError::Mismatch { tokenizer: tokenizer.to_string(), tokens, model, vocab })
    }

    /// How many tokens it has.
    fn tokens(&self) -> usize {
        match self {
            Self::Bytes => 256,
            Self::Gpt2 => GPT2_VOCAB,
            Self::File(file) => file.tokens(),
        }
    }

    /// The tokens of `text`.
    ///
    /// # Errors
    /// When a tokenizer's file does not take the text.
    pub fn encode(&self, text: &str) -> Result<TokenisedText, TokenError> {
        let (ids, ends) = match self {
            Self::Bytes => (text.bytes().map(u32::from).collect(), (1..=text.len()).collect()),
            Self::Gpt2 => gpt2(text),
            Self::File(file) => file.encode(text)?,
        };
        Ok(TokenisedText::new(text, ids, &ends))
    }
}

/// A vocabulary of `vocab` may be that of `tokens` tokens, padded to a round number for fast products or with places for
/// tokens to come.
fn is_padded(tokens: usize, vocab: usize) -> bool {
    (tokens..=tokens + tokens / 20 + 64).contains(&vocab) && (tokens != 256 || vocab == 256)
}

fn unknown(spec: &ModelSpec, folder: Option<&Path>) -> TokenError {
    let place = match folder {
        Some(folder) => format!("{} has no tokenizer.json", folder.display()),
        None => "no folder with a tokenizer.json".to_string(),
    };
    TokenError::Unknown { model: spec.name.clone(), vocab: spec.vocab_size, place }
}

/// Tokens, and where each ends. A byte-level vocabulary gives every byte of the text to one token.
fn gpt2(text: &str) -> (Vec<u32>, Vec<usize>) {
    let pairs = tiktoken_rs::r50k_base_singleton();
    let ids = pairs.encode_ordinary(text);
    let length = |id: &u32| pairs.decode_bytes(std::slice::from_ref(id)).map_or(0, |bytes| bytes.len());
    let mut end = 0;
    let ends = ids.iter().map(|id| {
        end += length(id);
        end
    });
    let ends = ends.collect();
    (ids, ends)
}

impl TokenisedText {
    /// Tokens that each end at one of `ends`, in bytes of `text`.
    fn new(text: &str, ids: Vec<u32>, ends: &[usize]) -> Self {
        let begins_one = |byte: &&u8| **byte & 0xc0 != 0x80;
        let mut from = 0;
        let (mut bytes, mut characters) = (Vec::with_capacity(ids.len()), Vec::with_capacity(ids.len()));
        for end in ends {
            let end = (*end).clamp(from, text.len());
            bytes.push(end - from);
            characters.push(text.as_bytes()[from..end].iter().filter(begins_one).count());
            from = end;
        }
        Self { ids, bytes, characters }
    }

    /// The first `tokens` tokens.
    #[must_use]
    pub fn first(mut self, tokens: usize) -> Self {
        self.ids.truncate(tokens);
        self.bytes.truncate(tokens);
        self.characters.truncate(tokens);
        self
    }
}

/// Reads a text.
///
/// # Errors
/// When it cannot be read or is not UTF-8: with the place of the first byte that is not.
pub fn read_text(path: &Path) -> Result<String, TokenError> {
    let read = |source| TokenError::Read { path: path.to_path_buf(), source };
    String::from_utf8(std::fs::read(path).map_err(read)?).map_err(|error| {
        let offset = error.utf8_error().valid_up_to();
        TokenError::NotUtf8 { path: path.to_path_buf(), offset, byte: error.as_bytes()[offset] }
    })
}

/// As much of the beginning of `text` as `tokens` tokens can stand for in any vocabulary of words, cut after a line.
pub fn beginning(text: &str, tokens: usize) -> &str {
    // Tokens of English text are about 4 bytes long; runs of spaces or of one sign may be 16 times that.
    let enough = tokens.saturating_mul(64).saturating_add(1 << 16);
    if text.len() <= enough {
        return text;
    }
    let cut = &text.as_bytes()[..enough];
    let line_end = memchr::memrchr(b'\n', cut).map(|at| at + 1);
    &text[..line_end.unwrap_or_else(|| text.floor_char_boundary(enough))]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::llm::preset;

    #[test]
    fn gpt2_tokens_are_those_of_the_published_tokenizer() {
        // The Hugging Face course (chapter 7.3) prints these of WikiText-2's second line.
        let line = Tokenizer::Gpt2.encode(" = Valkyria Chronicles III = \n").unwrap();
        assert_eq!(line.ids, [796, 569, 18354, 7496, 17740, 6711, 796, 220, 198]);
        assert_eq!(line.bytes, [2, 2, 4, 3, 11, 4, 2, 1, 1]);
        let text = "Hello, world! The naïve 东京 café cost 1,234.50 dollars.\n\n<|endoftext|>";
        let encoded = Tokenizer::Gpt2.encode(text).unwrap();
        assert_eq!(encoded.ids[..4], [15496, 11, 995, 0]);
        assert_eq!(encoded.bytes.iter().sum::<usize>(), text.len());
        assert_eq!(encoded.characters.iter().sum::<usize>(), text.chars().count());
        assert!(!encoded.ids.contains(&50256), "a marker in a text is text");
    }

    #[test]
    fn bytes_are_their_own_tokens_and_characters_are_counted_where_they_begin() {
        let encoded = Tokenizer::Bytes.encode("aé").unwrap();
        assert_eq!(encoded.ids, [97, 0xc3, 0xa9]);
        assert_eq!((encoded.bytes, encoded.characters), (vec![1, 1, 1], vec![1, 1, 0]));
    }

    #[test]
    fn the_tokenizer_follows_from_the_model_and_has_to_match_it() {
        let of = |name: &str, asked: Option<&str>| {
            let spec = preset(name).unwrap();
            Tokenizer::of_model(&spec, None, asked).map(|t| t.to_string()).map_err(|e| e.to_string())
        };
        assert_eq!(of("tiny", None).unwrap(), "bytes");
        assert_eq!(of("gpt2-medium", None).unwrap(), "gpt2");
        let error = of("gpt2", Some("bytes")).unwrap_err();
        assert!(
            error.ends_with("bytes does not match gpt2: it has 256 tokens, the model's vocabulary 50257"),
            "{error}"
        );
        let error = of("llama-2-7b", None).unwrap_err();
        assert!(error.contains("vocabulary of 32000") && error.contains("--tokenizer"), "{error}");
        assert!(of("llama-2-7b", Some("gpt2")).is_err());
        // nanoGPT pads GPT-2's vocabulary to a multiple of 64.
        let mut padded = preset("gpt2").unwrap();
        padded.vocab_size = 50_304;
        assert!(Tokenizer::of_model(&padded, None, None).is_ok());
    }

    #[test]
    fn a_text_in_another_encoding_is_refused_with_the_place() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("latin1.txt");
        std::fs::write(&path, b"caf\xe9 au lait").unwrap();
        let error = read_text(&path).unwrap_err().to_string();
        assert!(error.ends_with("latin1.txt: not UTF-8: byte 0xe9 at offset 3 begins no character; convert it, e.g. with iconv"), "{error}");
    }

    #[test]
    fn of_a_long_text_only_the_beginning_is_tokenised() {
        let text = "one line\n".repeat(100_000);
        let cut = beginning(&text, 10);
        assert!(cut.len() > 60_000 && cut.len() < 70_000 && cut.ends_with('\n'));
        assert_eq!(beginning("short", 10), "short");
        let signs = "é".repeat(100_000);
        assert!(beginning(&signs, 10).chars().all(|c| c == 'é'));
    }
}
