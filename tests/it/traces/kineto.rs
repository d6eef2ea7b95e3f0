//! What becomes of a small trace in the form that vLLM writes, and of damaged ones.

use super::{read_text, write};
use flate2::Compression;
use flate2::write::GzEncoder;
use kprof::ingest::{IngestError, TraceError, read_any};
use kprof::llm::Stage;
use kprof::profile::{CopyKind, Run};
use std::io::Write as _;

const VLLM: &str = include_str!("../../fixtures/traces/vllm.json");

fn vllm() -> Run {
    read_text("vllm.json", VLLM).unwrap()
}

#[test]
fn kernels_come_in_the_order_they_ran_with_place_call_and_ranges() {
    let run = vllm();
    let starts: Vec<f64> =
        run.kernels.iter().map(|k| k.timeline.as_ref().unwrap().start_s.unwrap()).collect();
    // The first event kept is the prefill's range, at 880 us.
    assert_eq!(starts, [120e-6, 170e-6, 190e-6, 1120e-6, 1135.25e-6]);
    let gemm = &run.kernels[0];
    assert_eq!((gemm.grid.as_deref(), gemm.block.as_deref()), (Some("(64, 1, 1)"), Some("(384, 1, 1)")));
    // One sum of static and dynamic: neither is known.
    assert_eq!(
        (gemm.registers, gemm.shared_bytes, gemm.shared_total()),
        (Some(168), Some(221_184), Some(221_184))
    );
    assert_eq!((gemm.static_shared_bytes, gemm.dynamic_shared_bytes), (None, None));
    assert_eq!((run.kernels[2].registers, run.kernels[2].shared_total()), (None, None));
    assert_eq!((gemm.stream.as_deref(), gemm.device.as_deref()), (Some("7"), Some("NVIDIA H100 80GB HBM3")));
    assert_eq!(gemm.time.as_ref().unwrap().value, 40.5e-6);
    let timeline = gemm.timeline.as_ref().unwrap();
    assert_eq!((timeline.rank, timeline.device, timeline.correlation), (Some(1), Some(0), Some(1)));
    assert_eq!((timeline.launch_start_s, timeline.launch_time_s), (Some(70e-6), Some(5e-6)));
    let prefill = "execute_context_2(512)_generation_0(0)";
    assert_eq!(gemm.nvtx, [prefill]);
    // Only modules of Python's functions; operators only where a rule knows them.
    assert_eq!(run.kernels[1].nvtx, [prefill, "nn.Module: LlamaAttention_0"]);
    // Both kernels of a graph were launched by one call.
    assert_eq!(run.kernels[4].nvtx, ["execute_context_0(0)_generation_2(2)"]);
    assert!(gemm.dram_bytes.is_none() && gemm.flops.total().is_none() && !gemm.flops_complete);
}

#[test]
fn copies_ranges_steps_shapes_and_the_rest_are_kept() {
    let run = vllm();
    let copy = &run.copies[0];
    assert_eq!((copy.kind, copy.bytes, copy.time_s), (CopyKind::HostToDevice, Some(4096.0), 2e-6));
    assert_eq!(copy.memory.as_deref(), Some("Pinned -> Device"));
    let steps: Vec<_> = run.ranges.iter().filter_map(|r| Some((r.start_s, r.step.as_ref()?))).collect();
    assert_eq!(steps.len(), 2);
    assert_eq!((steps[0].1.stage, steps[0].1.prefill_tokens), (Some(Stage::Prefill), Some(512)));
    assert_eq!((steps[1].0, steps[1].1.decode_sequences), (1100e-6, Some(2)));
    let trace = &run.traces[0];
    assert_eq!((trace.rank, trace.world_size, trace.format.as_str()), (Some(1), Some(2), "kineto"));
    assert_eq!((trace.matmuls[0].rows, trace.matmuls[0].columns, trace.matmuls[0].calls), (512, 6144, 1));
    // From the copy at 900 us to the end of the last kernel at 2025.5 us.
    assert_eq!(trace.span_s, Some(1125.5e-6));
    assert_eq!(run.profiler.as_ref().unwrap().cuda.as_deref(), Some("12.4"));
    assert!(run.findings.iter().any(|f| f.message.contains("NaN")), "{:?}", run.findings);
}

fn gzipped(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn a_gzipped_trace_and_a_bare_array_of_events_are_the_same_trace() {
    let folder = tempfile::tempdir().unwrap();
    let plain = vllm();
    let packed = read_any(&write(&folder, "vllm.json", &gzipped(VLLM))).unwrap();
    assert_eq!((packed.kernels.len(), &packed.ranges.len()), (plain.kernels.len(), &plain.ranges.len()));
    let events = &VLLM[VLLM.find("\"traceEvents\": ").unwrap() + 15..VLLM.rfind(']').unwrap()];
    // Chrome's format lets an array stay open.
    for end in ["]", "", ","] {
        let run = read_text("array.json", &format!("{events}{end}")).unwrap();
        assert_eq!(run.kernels.len(), 5, "{end}");
        assert_eq!(run.kernels[0].device, None);
    }
}

fn error(text: &str) -> TraceError {
    match read_text("x.json", text) {
        Err(IngestError::Trace(error)) => error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_cannot_be_read_is_one_clear_error() {
    let cut = error(&VLLM[..VLLM.len() / 2]);
    assert!(matches!(cut, TraceError::Truncated { .. }), "{cut}");
    assert!(cut.to_string().contains("in the middle of the events"), "{cut}");
    let folder = tempfile::tempdir().unwrap();
    let packed = gzipped(VLLM);
    let cut = read_any(&write(&folder, "x.json.gz", &packed[..packed.len() / 2])).unwrap_err();
    assert!(matches!(cut, IngestError::Trace(TraceError::Gzip { .. })), "{cut}");
    let none = error(&VLLM.replace("\"kernel\"", "\"cuda_profiler_range\""));
    assert!(none.to_string().contains("CUPTI's range profiler"), "{none}");
    let none =
        error(r#"{"traceEvents": [{"ph": "X", "cat": "cpu_op", "name": "aten::mm", "ts": 1, "dur": 2}]}"#);
    assert!(none.to_string().contains("1 cpu_op; record with activities"), "{none}");
    let other = error(r#"{"model_type": "llama", "hidden_size": 4096}"#);
    assert!(other.to_string().contains("it has model_type, hidden_size, and no traceEvents"), "{other}");
    let event =
        error(r#"{"traceEvents": [{"ph": "X", "cat": "kernel", "name": "a", "ts": "soon", "dur": 2}]}"#);
    assert!(event.to_string().contains("byte 17: a kernel event without a number in ts"), "{event}");
    let syntax = error(r#"{"traceEvents": [{"ph": "X" "cat"}]}"#);
    assert!(matches!(syntax, TraceError::Json { at: 17, .. }), "{syntax}");
}
