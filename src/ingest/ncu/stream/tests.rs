//! Reading in chunks gives what reading whole gives, wherever the chunks are cut.

use super::*;
use crate::profile::Finding;

/// Every record, and the findings about the file.
fn in_chunks(path: &Path, chunk: u64, threads: usize) -> (Vec<KernelRecord>, Vec<Finding>) {
    let tuning = Tuning { whole_below: 0, chunk, threads };
    let push = |all: &mut Vec<KernelRecord>, seen: Seen<'_>| all.push(seen.record.clone());
    let (run, kernels) = streamed(path, tuning, &mut Vec::new, &mut { push })
        .expect("the file is readable")
        .expect("the file is regular");
    (kernels, run.findings)
}

fn check(text: &str, chunks: &[u64]) {
    let file = tempfile::NamedTempFile::new().expect("a temporary file can be made");
    std::fs::write(file.path(), text).expect("it can be written");
    let whole = super::super::read(file.path()).expect("the export is valid");
    for chunk in chunks {
        for threads in [1, 3] {
            let (kernels, findings) = in_chunks(file.path(), *chunk, threads);
            assert_eq!(kernels.len(), whole.kernels.len(), "chunks of {chunk} B, {threads} threads");
            assert_eq!(kernels, whole.kernels, "chunks of {chunk} B, {threads} threads");
            assert_eq!(findings, whole.findings, "chunks of {chunk} B, {threads} threads");
        }
    }
}

/// A long export: ragged, with rules, line breaks and numbers in quoted cells, and a counter below zero.
fn long(launches: u64) -> String {
    let mut text = String::from(
        "==PROF== Connected to process 7\n\"ID\",\"Process ID\",\"Kernel Name\",\"Stream\",\"Block Size\",\
         \"Section Name\",\"Metric Name\",\"Metric Unit\",\"Metric Value\",\"Rule Name\",\"Rule Description\"\n",
    );
    for id in 0..launches {
        let kernel = ["void f<a, \"\"b\"\">(int)", "g\n\"\"12\"\",\"\"x\"\"", "volta_sgemm"][id as usize % 3];
        let row = |metric: &str, unit: &str, value: String| {
            format!(
                "\"{id}\",\"7\",\"{kernel}\",\"1\",\"(128, 1, 1)\",\"Command line profiler metrics\",\
                 \"{metric}\",\"{unit}\",\"{value}\",\n"
            )
        };
        text += &row("gpu__time_duration.sum", "ns", format!("{},{:03}.50", 1 + id, id * 37 % 1000));
        text += &row("sm__other.avg", "", "1,234".to_string());
        if id % 2 == 0 {
            text += &format!(
                "\"{id}\",\"7\",\"{kernel}\",\"1\",\"(128, 1, 1)\",\"\",\"\",\"\",\"\",\"Rule\",\"lines\n\"\"5\"\"\nof text\"\n"
            );
        }
        let bytes = if id % 5 == 4 { "-12".to_string() } else { (id * 1000).to_string() };
        text += &row("dram__bytes.sum", "Kbyte", bytes);
        let op = "sm__sass_thread_inst_executed_op_ffma_pred_on.sum";
        text += &row(op, "inst", (id * 77).to_string());
    }
    text + "==ERROR== it ended\n"
}

fn wide(launches: u64) -> String {
    let mut text = String::from(
        "\"ID\",\"Process ID\",\"Kernel Name\",\"Context\",\"a__x.sum\",\"gpu__time_duration.sum\",\"dram__bytes.sum\",\
         \"z__z.avg\"\n\"\",\"\",\"\",\"\",\"\",\"us\",\"byte\",\"%\"\n",
    );
    for id in 0..launches {
        text += &format!(
            "\"{id}\",\"3\",\"k{}, \"\"q\"\"\",\"1\",\"1,{:03}\",\"{}.{:02}\",\"{}\",\"n/a\"\n",
            id % 4,
            id % 1000,
            id + 1,
            id % 100,
            id * 321
        );
    }
    text
}

#[test]
fn chunks_of_any_size_give_what_reading_whole_gives() {
    let sizes = [1, 7, 64, 100, 333, 1000, 4096, 1 << 20];
    check(&long(40), &sizes);
    check(&wide(60), &sizes);
    check(&long(40).replace('\n', "\r\n"), &sizes);
    // Past the part where every cell votes, only the needed columns are looked at.
    let large = wide(40_000);
    assert!(large.len() > 3 * super::super::table::ALL_VOTE / 2);
    check(&large, &[300_000]);
}

/// Kernels that are launched again and again with other numbers, in several kinds of collections.
#[test]
fn launches_of_one_shape_give_what_each_by_itself_gives() {
    let op = |op: &str| format!("smsp__sass_thread_inst_executed_op_{op}_pred_on.sum.per_cycle_elapsed");
    let kinds: [Vec<(String, &str)>; 5] = [
        vec![
            ("gpu__time_duration.sum".into(), "us"),
            ("dram__bytes_read.sum".into(), "Kbyte"),
            ("dram__bytes_write.sum".into(), "byte"),
            ("sm__ops_path_tensor_src_fp16_dst_fp32_sparsity_off.sum".into(), ""),
            ("sm__ops_path_tensor_src_fp16_dst_fp32_sparsity_on.sum".into(), ""),
            ("sm__ops_path_tensor_src_int8.sum".into(), ""),
        ],
        vec![
            (op("fadd"), "inst/cycle"),
            (op("fmul"), "inst/cycle"),
            (op("ffma"), "inst/cycle"),
            ("smsp__cycles_elapsed.avg.per_second".into(), "cycle/nsecond"),
            ("gpu__time_duration.sum".into(), "ns"),
            ("dram__bytes.sum.per_second".into(), "Gbyte/second"),
            ("dram__bytes.sum.peak_sustained".into(), "Kbyte/cycle"),
            ("dram__cycles_elapsed.avg.per_second".into(), "cycle/nsecond"),
        ],
        vec![
            ("sm__cycles_elapsed.avg".into(), "cycle"),
            ("sm__cycles_elapsed.avg.per_second".into(), "hz"),
            (op("dfma"), "inst/cycle"),
            ("lts__t_sectors.sum".into(), "sector"),
            ("sm__ops_path_tensor_src_fp64.sum.per_cycle_elapsed".into(), ""),
        ],
        vec![
            ("dram__bytes.sum".into(), "byte"),
            ("dram__bytes_read.sum".into(), "byte"),
            ("dram__bytes_write.sum".into(), "byte"),
            ("sm__inst_executed_pipe_tensor.sum".into(), "inst"),
            ("device__attribute_display_name".into(), ""),
        ],
        vec![
            ("gpu__time_duration.sum".into(), "ns"),
            ("launch__registers_per_thread".into(), "register/thread"),
            ("launch__shared_mem_per_block_static".into(), "Kbyte/block"),
            ("launch__shared_mem_per_block_dynamic".into(), "byte/block"),
        ],
    ];
    for metrics in &kinds {
        check(&of_metrics(metrics), &[500, 5000, 1 << 20]);
    }
}

fn of_metrics(metrics: &[(String, &str)]) -> String {
    let mut text = String::from(
        "\"ID\",\"Process ID\",\"Kernel Name\",\"Grid Size\",\"CC\",\"Metric Name\",\"Metric Unit\",\"Metric Value\"\n",
    );
    let mut state = 7u64;
    for id in 0..120u64 {
        for (at, (metric, unit)) in metrics.iter().enumerate() {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let value = match (state >> 33) % 40 {
                0 => "n/a".to_string(),
                1 => "0".to_string(),
                2 => "nan".to_string(),
                _ if metric.contains("display") => "A100, 80 GB".to_string(),
                // Sometimes not to the byte.
                3..5 if metric.ends_with("_static") => "4.10".to_string(),
                n if metric.ends_with("_static") => format!("{n}.096000"),
                n if metric.starts_with("launch__") => n.to_string(),
                n => format!("{},{:03}.{:02}", 1 + n, (state >> 40) % 1000, (state >> 50) % 100),
            };
            // Parts of a total that sometimes agree.
            let value = if at > 0 && metric == "dram__bytes_write.sum" { "12".to_string() } else { value };
            text += &format!(
                "\"{id}\",\"7\",\"kernel{}\",\"({}, 1, 1)\",\"8.0\",\"{metric}\",\"{unit}\",\"{value}\"\n",
                id % 3,
                id % 5
            );
        }
    }
    text
}

#[test]
fn real_exports_give_in_chunks_what_they_give_whole() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = ["tests/fixtures/ncu", "../shared/ncu/csv", "../shared/ncu/converted"];
    let entries = folders.iter().filter_map(|f| std::fs::read_dir(root.join(f)).ok()).flatten().flatten();
    let mut in_chunks = 0;
    for path in entries.map(|e| e.path()) {
        let Ok(mut whole) = super::super::read(&path) else { continue };
        for chunk in [3000, 40_000] {
            let tuning = Tuning { whole_below: 0, chunk, threads: 2 };
            let push = |all: &mut Vec<KernelRecord>, seen: Seen<'_>| all.push(seen.record.clone());
            let read = streamed(&path, tuning, &mut Vec::new, &mut { push }).expect("the file is readable");
            let Some((run, kernels)) = read else { continue };
            in_chunks += 1;
            assert!(kernels == whole.kernels, "{} in chunks of {chunk} B", path.display());
            assert_eq!(run.findings, whole.findings, "{}", path.display());
        }
        whole.kernels.clear();
    }
    assert!(in_chunks > 10, "only {in_chunks} readings in chunks");
}

/// Damage makes a file be read the other way, or changes nothing: never a panic, never another result.
#[test]
fn damaged_files_give_in_chunks_what_they_give_whole() {
    let (mut state, file) = (3u64, tempfile::NamedTempFile::new().expect("a temporary file can be made"));
    let mut next = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize
    };
    let texts = [long(12), wide(12)];
    for round in 0..600 {
        let mut bytes = texts[round % 2].clone().into_bytes();
        let at = next() % bytes.len();
        match next() % 4 {
            0 => bytes.truncate(at),
            1 => bytes[at] = b"\",\n\r=.-'(0\xFF"[next() % 11],
            2 => bytes[at] ^= 1 << (next() % 8),
            _ => {
                let end = (at + next() % 300).min(bytes.len());
                bytes.drain(at..end);
            }
        }
        std::fs::write(file.path(), &bytes).expect("it can be written");
        let tuning = Tuning { whole_below: 0, chunk: 1 + next() as u64 % 700, threads: 2 };
        let push = |all: &mut Vec<KernelRecord>, seen: Seen<'_>| all.push(seen.record.clone());
        match (super::super::read(file.path()), fold_with(file.path(), tuning, Vec::new, push)) {
            (Ok(whole), Ok((run, kernels))) => {
                let differs = kernels.iter().zip(&whole.kernels).find(|(a, b)| a != b);
                let counts = (kernels.len(), whole.kernels.len());
                assert!(kernels == whole.kernels, "round {round}, {tuning:?}: {counts:?}, {differs:#?}");
                assert_eq!(run.findings, whole.findings, "round {round}");
            }
            (Err(whole), Err(chunks)) => assert_eq!(whole.to_string(), chunks.to_string()),
            (whole, chunks) => panic!("round {round}: {:?}, {:?}", whole.is_ok(), chunks.is_ok()),
        }
    }
}

#[test]
fn another_locale_than_the_beginning_suggests_is_found() {
    let german = long(4000).replace(".50\"", ",50\"").replace("1,234", "1.234");
    let swapped = german.replace("\"sm__other.avg\",\"\",\"1.234\"", "\"sm__other.avg\",\"\",\"1.234.567\"");
    check(&swapped, &[5000]);
}
