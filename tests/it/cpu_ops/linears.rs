//! Products with all that stands around them.

use super::*;

/// A linear with all that can stand around it.
struct Linear {
    around: Around,
    step: StepShape,
    rows: LinearRows,
    kind: NormKind,
    activation: Activation,
    x: HostTensor,
    gain: HostTensor,
    gain_bias: Option<HostTensor>,
    order: WeightOrder,
    weight: HostTensor,
    bias: Option<HostTensor>,
    residual: HostTensor,
}
debug_shapes!(Linear: around, step, rows, kind, activation, order);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Around {
    Nothing,
    Norm,
    NormGelu,
    NormGate,
    Gelu,
    Gate,
    Residual,
    NormAlone,
    FirstOutputs,
    TiedHead,
}

impl Linear {
    fn random(r: &mut Random) -> Self {
        use Around::*;
        let all =
            [Nothing, Norm, NormGelu, NormGate, Gelu, Gate, Residual, NormAlone, FirstOutputs, TiedHead];
        let around = r.one_of(&all);
        let (batch, new) = (r.size(1..=4), r.size(1..=21));
        let (input, outputs) = (r.size(2..=300), r.size(1..=90) * if r.below(3) == 0 { 4 } else { 1 });
        Self::of(r, around, (batch, new), (input, outputs))
    }

    /// Many rows, deep and wide enough for several tasks and passes of a matrix unit.
    fn large(r: &mut Random) -> Self {
        use Around::*;
        let around = r.one_of(&[Nothing, NormGelu, Residual]);
        let (batch, new) = (r.size(1..=3), r.size(32..=150));
        let (input, outputs) = (r.size(760..=1700), r.size(30..=300));
        Self::of(r, around, (batch, new), (input, outputs))
    }

    fn of(
        r: &mut Random,
        around: Around,
        (batch, new): (usize, usize),
        (input, outputs): (usize, usize),
    ) -> Self {
        use Around::*;
        let rows = match around {
            Norm | NormAlone => r.one_of(&[LinearRows::All, LinearRows::Last]),
            _ => LinearRows::All,
        };
        let outputs = outputs.next_multiple_of(2);
        let order = match around {
            TiedHead => WeightOrder::OutputInput,
            _ => r.one_of(&[WeightOrder::InputOutput, WeightOrder::OutputInput]),
        };
        let shape = match order {
            WeightOrder::InputOutput => [input, outputs],
            WeightOrder::OutputInput => [outputs, input],
        };
        let kind = r.one_of(&[NormKind::Layer, NormKind::Rms]);
        let gain_bias = if kind == NormKind::Layer { r.maybe(&[input]) } else { None };
        let mut weight = r.tensor(&shape);
        // Results of about 1, as in a model; by a power of two, so that the numbers stay exact.
        let scale = 2f32.powi(-((input as f32).log2() / 2.0).round() as i32);
        weight.data.iter_mut().for_each(|w| *w *= scale);
        Self {
            around,
            step: step(batch, new, new + r.size(0..=3)),
            rows,
            kind,
            activation: r.one_of(&[
                Activation::GeluTanh,
                Activation::Gelu,
                Activation::Silu,
                Activation::Relu,
            ]),
            x: r.tensor(&[batch * new, input]),
            gain: r.tensor(&[input]),
            gain_bias,
            order,
            weight,
            bias: if around == TiedHead { None } else { r.maybe(&[outputs]) },
            residual: r.tensor(&[batch * new, outputs]),
        }
    }
}

impl Case for Linear {
    fn run<B: Backend>(&self, b: &mut B) -> Vec<f32> {
        let x = upload(b, &self.x);
        let norm = b.load_norm(self.kind, self.gain.clone(), self.gain_bias.clone(), 1e-5).unwrap();
        let linear = match self.around {
            Around::TiedHead => {
                let table = b.load_table(self.weight.clone()).unwrap();
                b.tied_head(&table).unwrap()
            }
            _ => b.load_linear(self.weight.clone(), self.order, self.bias.clone()).unwrap(),
        };
        let (s, act) = (&self.step, self.activation);
        let y = match self.around {
            Around::Nothing | Around::TiedHead => b.linear(SITE, s, &x, &linear, LinearRows::All),
            Around::Norm => b.norm_linear([SITE; 2], s, &x, &norm, &linear, self.rows),
            Around::NormAlone => b.norm(SITE, s, &x, &norm, self.rows),
            Around::NormGelu => b.norm_linear_gelu([SITE; 3], s, &x, &norm, &linear),
            Around::NormGate => b.norm_linear_gate([SITE; 3], s, &x, &norm, &linear, act),
            Around::Gelu => b.linear_gelu([SITE; 2], s, &x, &linear),
            Around::Gate => b.linear_gate([SITE; 2], s, &x, &linear, act),
            Around::Residual => {
                let residual = upload(b, &self.residual);
                b.linear_residual([SITE; 2], s, &x, &linear, &residual)
            }
            Around::FirstOutputs => {
                let first = b.first_outputs(&linear, self.residual.shape[1] / 2).unwrap();
                b.linear(SITE, s, &x, &first, LinearRows::All)
            }
        };
        download(b, &y.unwrap())
    }
}

#[test]
fn linears_with_what_stands_around_them_are_candles() {
    check(70, Linear::random);
}

#[test]
fn large_linears_are_candles() {
    check(4, Linear::large);
}

/// Whatever a number is cut into on the way.
#[test]
fn what_is_not_finite_shows_in_its_row_and_no_other() {
    for (dtype, value) in DType::ALL.into_iter().flat_map(|d| [(d, f32::NAN), (d, f32::INFINITY)]) {
        let mut random = Random { source: Xoshiro256PlusPlus::seed_from_u64(8), dtype };
        let mut x = random.tensor(&[40, 70]);
        x.data[33 * 70 + 5] = value;
        let weight = HostTensor { shape: vec![70, 20], data: vec![0.5; 70 * 20] };
        for isa in Isa::available() {
            let options = CpuOptions { isa: Some(isa), ..CpuOptions::new(dtype) };
            let mut backend = CpuBackend::new(options).unwrap();
            let linear = backend.load_linear(weight.clone(), WeightOrder::InputOutput, None).unwrap();
            let rows = upload(&mut backend, &x);
            let y = backend.linear(SITE, &step(1, 40, 40), &rows, &linear, LinearRows::All).unwrap();
            for (row, y) in download(&mut backend, &y).chunks(20).enumerate() {
                assert!(y.iter().all(|y| y.is_finite() != (row == 33)), "{dtype} {isa} {value} {row}");
            }
        }
    }
}
