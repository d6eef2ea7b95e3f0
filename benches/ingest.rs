//! Peers and the limit of reading exports, for `scripts/bench-ingest.py`: the csv crate, and counting newlines.
//!
//! `ingest csv FILE long|wide` sums the needed metrics by kernel; `ingest lines FILE THREADS` counts newlines.

use std::collections::HashMap;
use std::error::Error;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

type Sums = HashMap<(Vec<u8>, String), f64>;

/// Whether the metric is one that the script sums.
fn is_needed(name: &[u8]) -> bool {
    let flops = name.starts_with(b"sm__sass_thread_inst_executed_op_") && name.ends_with(b"_pred_on.sum");
    flops
        || matches!(
            name,
            b"gpu__time_duration.sum" | b"dram__bytes.sum" | b"sm__ops_path_tensor_src_fp16_dst_fp32.sum"
        )
}

/// A number with thousands separators.
fn number(cell: &[u8]) -> Result<f64, Box<dyn Error>> {
    let digits: Vec<u8> = cell.iter().copied().filter(|b| *b != b',').collect();
    Ok(std::str::from_utf8(&digits)?.parse()?)
}

fn add(sums: &mut Sums, kernel: &[u8], metric: &str, value: f64) {
    match sums.get_mut(&(kernel.to_vec(), metric.to_string())) {
        Some(sum) => *sum += value,
        None => {
            sums.insert((kernel.to_vec(), metric.to_string()), value);
        }
    }
}

fn csv(path: &str, kind: &str) -> Result<(), Box<dyn Error>> {
    let start = Instant::now();
    let mut reader =
        csv::ReaderBuilder::new().flexible(true).buffer_capacity(1 << 18).from_reader(File::open(path)?);
    let header = reader.headers()?.clone();
    let column = |name: &str| header.iter().position(|h| h == name).ok_or(format!("no column {name}"));
    let kernel = column("Kernel Name")?;
    let mut sums = Sums::new();
    let mut record = csv::ByteRecord::new();
    if kind == "long" {
        let (name, value) = (column("Metric Name")?, column("Metric Value")?);
        while reader.read_byte_record(&mut record)? {
            if is_needed(&record[name]) {
                let metric = std::str::from_utf8(&record[name])?;
                add(&mut sums, &record[kernel], metric, number(&record[value])?);
            }
        }
    } else {
        let needed: Vec<(usize, &str)> =
            header.iter().enumerate().filter(|(_, name)| is_needed(name.as_bytes())).collect();
        reader.read_byte_record(&mut record)?;
        while reader.read_byte_record(&mut record)? {
            for (column, metric) in &needed {
                add(&mut sums, &record[kernel], metric, number(&record[*column])?);
            }
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    let sums: Vec<(String, String, f64)> =
        sums.into_iter().map(|((k, m), v)| (String::from_utf8_lossy(&k).into_owned(), m, v)).collect();
    println!("{}", serde_json::json!({ "seconds": seconds, "sums": sums }));
    Ok(())
}

fn lines(path: &str, threads: usize) -> Result<(), Box<dyn Error>> {
    const PIECE: u64 = 1 << 20;
    let size = std::fs::metadata(path)?.len();
    let (next, count) = (AtomicU64::new(0), AtomicU64::new(0));
    let start = Instant::now();
    let read = || -> std::io::Result<()> {
        let mut file = File::open(path)?;
        let mut piece = vec![0; usize::try_from(PIECE).unwrap_or(1 << 20)];
        loop {
            let at = next.fetch_add(PIECE, Ordering::Relaxed);
            if at >= size {
                return Ok(());
            }
            let length = usize::try_from(PIECE.min(size - at)).unwrap_or(0);
            file.seek(SeekFrom::Start(at))?;
            file.read_exact(&mut piece[..length])?;
            let found = memchr::memchr_iter(b'\n', &piece[..length]).count();
            count.fetch_add(found as u64, Ordering::Relaxed);
        }
    };
    std::thread::scope(|scope| {
        let all: Vec<_> = (0..threads).map(|_| scope.spawn(read)).collect();
        all.into_iter().try_for_each(|thread| thread.join().expect("counting does not panic"))
    })?;
    let seconds = start.elapsed().as_secs_f64();
    println!("{}", serde_json::json!({ "seconds": seconds, "lines": count.into_inner() }));
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().collect();
    let args: Vec<&str> = args.iter().map(String::as_str).filter(|a| *a != "--bench").collect();
    match args[1..] {
        ["csv", path, kind] => csv(path, kind),
        ["lines", path, threads] => lines(path, threads.parse()?),
        _ => {
            eprintln!("run by scripts/bench-ingest.py");
            Ok(())
        }
    }
}
