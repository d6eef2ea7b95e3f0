//! Reading in chunks gives what reading whole gives, wherever the chunks are cut.

use super::*;
use crate::profile::Finding;

/// Every record, and the findings about the file.
fn in_chunks(path: &Path, chunk: u64, threads: usize) -> (Vec<KernelRecord>, Vec<Finding>) {
    let tuning = Tuning { whole_below: 0, chunk, threads };
    let push = |all: &mut Vec<KernelRecord>, kernel: &KernelRecord| all.push(kernel.clone());
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
}

#[test]
fn another_locale_than_the_beginning_suggests_is_found() {
    let german = long(4000).replace(".50\"", ",50\"").replace("1,234", "1.234");
    let swapped = german.replace("\"sm__other.avg\",\"\",\"1.234\"", "\"sm__other.avg\",\"\",\"1.234.567\"");
    check(&swapped, &[5000]);
}
