//! The nonlinearities of MLPs.

use serde::{Deserialize, Serialize};

/// The nonlinearity of an MLP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// GELU by its tanh approximation (Hendrycks and Gimpel 2016).
    GeluTanh,
    /// x sigmoid(x), also called swish (Elfwing et al. 2017).
    Silu,
}
