//! A decode step of the cpu backend allocates nothing once a first one has run: counted by the allocator, on all threads.
//!
//! A program of its own, because the allocator is the whole program's.

#![allow(unsafe_code)]

use kprof::backend::{Backend, CpuBackend, CpuOptions};
use kprof::llm::{DType, LinearRows, ModelSpec, WeightFormat, builtin_versions, preset};
use kprof::pass::{Model, RandomWeights, State};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

struct Counting;

// SAFETY: hands everything on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promises are those that `System` asks for; as below.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.realloc(memory, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn models() -> Vec<ModelSpec> {
    let llama = preset("tiny-llama").unwrap();
    vec![preset("tiny").unwrap(), ModelSpec { qk_norm: true, ..llama.clone() }, llama]
}

/// Allocations of each of `steps` decode steps after a prompt.
fn decode(spec: &ModelSpec, options: CpuOptions, version: &str, steps: usize) -> Vec<usize> {
    let mut backend = CpuBackend::new(options).unwrap();
    let model = Model::load(&backend, spec, &RandomWeights::new(1), &mut |_, _| {}).unwrap();
    let version = builtin_versions().into_iter().find(|v| v.name == version).unwrap();
    let (batch, prompt) = (2, 5);
    let mut state = State::new(&backend, spec, &version, batch, prompt + steps).unwrap();
    let mut ids = vec![1; batch * prompt];
    let mut counts = Vec::new();
    for _ in 0..=steps {
        let before = ALLOCATIONS.load(Ordering::Relaxed);
        let logits = model.forward(&mut backend, &mut state, &ids, LinearRows::Last).unwrap();
        model.choose(&mut backend, &logits, &mut ids).unwrap();
        drop(logits);
        counts.push(ALLOCATIONS.load(Ordering::Relaxed) - before);
    }
    assert!(backend.marks().take().is_empty(), "plain steps are what is counted");
    counts.split_off(1)
}

#[test]
fn decode_steps_after_the_first_allocate_nothing() {
    let int8: WeightFormat = "int8:32".parse().unwrap();
    for spec in models() {
        for version in ["v1", "v2", "v3", "v4"] {
            for dtype in DType::ALL {
                for weights in [None, Some(int8)] {
                    let options = CpuOptions { weights, threads: Some(3), ..CpuOptions::new(dtype) };
                    let counts = decode(&spec, options, version, 6);
                    assert_eq!(counts[1..], [0; 5], "{} {version} {dtype} {weights:?}", spec.name);
                }
            }
        }
    }
}
