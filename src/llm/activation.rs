//! The activation functions of MLPs.

use serde::{Deserialize, Serialize};

/// The function between the linears of an MLP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// GELU by its tanh approximation.
    #[default]
    GeluTanh,
    /// GELU by the error function.
    Gelu,
    /// x times its logistic function, also called swish.
    Silu,
    /// max(x, 0).
    Relu,
}

impl Activation {
    /// What Hugging Face's name of an activation means; `None` where kprof knows none of that name.
    pub fn from_config(name: &str) -> Option<Self> {
        match name {
            "gelu_new" | "gelu_pytorch_tanh" | "gelu_fast" => Some(Self::GeluTanh),
            "gelu" => Some(Self::Gelu),
            "silu" | "swish" => Some(Self::Silu),
            "relu" => Some(Self::Relu),
            _ => None,
        }
    }

    /// Its name in files and tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::GeluTanh => "gelu_tanh",
            Self::Gelu => "gelu",
            Self::Silu => "silu",
            Self::Relu => "relu",
        }
    }
}
