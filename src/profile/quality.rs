//! What a version's model makes of a text: the records of `kprof perplexity`. Everything is kept token by token, so that
//! perplexities, differences and their intervals can be computed again.

use serde::{Deserialize, Serialize};

/// The text that was scored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TextRecord {
    /// What it is called: a file's name, or of a built-in text what it is.
    pub name: String,
    /// Its length.
    pub bytes: usize,
    /// Its tokens.
    pub tokens: usize,
    /// What made tokens of it: `bytes`, `gpt2`, or a tokenizer's file.
    pub tokenizer: String,
    /// Tokens that a segment is long at most, those before its first scored one included; `None` where it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<usize>,
    /// Tokens from one segment's start to the next one's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stride: Option<usize>,
    /// The best perplexity that any model could have, where the text's source is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub best_perplexity: Option<f64>,
}

/// One segment of the text as one version scored it. All lists have one value per scored token, in order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct QualityRecord {
    /// The version.
    pub version: String,
    /// Which segment of the text, from 0; segments are scored each from an empty cache.
    pub segment: usize,
    /// The position in the text of the first scored token, from 0.
    pub first_token: usize,
    /// Bytes of the text that the scored tokens stand for: what bits per byte are divided by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<usize>,
    /// Characters that begin in those bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub characters: Option<usize>,
    /// -ln p of each token, in nats, through the cache, token by token as the version would generate.
    pub nll_nat: Vec<f64>,
    /// The same with the whole segment in one pass; empty where that was not computed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub teacher_forced_nll_nat: Vec<f64>,
    /// The version that the two fields below compare with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// KL(reference || this) of the distributions that each token was scored by, in nats; empty without a reference.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kl_nat: Vec<f64>,
    /// Whether the most likely token is the reference's; empty without a reference.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub same_top1: Vec<bool>,
    /// For an import without single tokens: of how many tokens the one value of each list is the mean.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mean_of: Option<usize>,
}

/// exp of the mean of `nll_nat`: the perplexity of that many tokens; `None` of none.
pub fn perplexity<'a>(nll_nat: impl IntoIterator<Item = &'a f64>) -> Option<f64> {
    let (sum, count) = nll_nat.into_iter().fold((0.0, 0usize), |(sum, count), nll| (sum + nll, count + 1));
    (count > 0).then(|| (sum / count as f64).exp())
}

#[cfg(test)]
mod tests {
    use super::perplexity;

    #[test]
    fn the_perplexity_of_a_fair_die_is_six() {
        let die = [6f64.ln(); 10];
        assert!((perplexity(&die).unwrap() - 6.0).abs() < 1e-12);
        // Of probabilities 1/2 and 1/8: the geometric mean of 2 and 8.
        assert!((perplexity(&[2f64.ln(), 8f64.ln()]).unwrap() - 4.0).abs() < 1e-12);
        assert_eq!(perplexity(&[]), None);
    }
}
