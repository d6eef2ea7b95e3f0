//! The Python wheel that scripts/make_wheel.py writes.

use std::path::Path;
use std::process::Command;

/// Reads the wheel back: every file's hash and size as RECORD has them, and the permissions of the binary.
const CHECK: &str = r#"
import base64, hashlib, sys, zipfile
wheel = zipfile.ZipFile(sys.argv[1])
record = [line.split(",") for line in wheel.read("kprof-9.8.7.dist-info/RECORD").decode().splitlines()]
assert sorted(name for name, *_ in record) == sorted(wheel.namelist()), wheel.namelist()
for name, digest, size in record[:-1]:
    data = wheel.read(name)
    hashed = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
    assert (digest, int(size)) == ("sha256=" + hashed, len(data)), name
assert record[-1][1:] == ["", ""], record[-1]
script = wheel.getinfo("kprof-9.8.7.data/scripts/kprof")
assert script.external_attr >> 16 & 0o777 == 0o755, oct(script.external_attr)
assert "Tag: py3-none-manylinux2014_x86_64" in wheel.read("kprof-9.8.7.dist-info/WHEEL").decode()
assert wheel.read("kprof-9.8.7.dist-info/METADATA").decode().startswith("Metadata-Version: 2.4\nName: kprof\nVersion: 9.8.7\n")
"#;

fn python(args: &[&str]) -> std::process::Output {
    Command::new("python3").args(args).env("SOURCE_DATE_EPOCH", "1700000000").output().expect("python3 runs")
}

#[test]
fn the_wheel_holds_the_binary_and_a_true_record() {
    if Command::new("python3").arg("--version").output().is_err() {
        eprintln!("SKIPPED the_wheel_holds_the_binary_and_a_true_record: no python3");
        return;
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/make_wheel.py");
    let folder = tempfile::tempdir().unwrap();
    let binary = folder.path().join("binary");
    std::fs::write(&binary, b"\x7fELF and so on").unwrap();
    let make = |out: &str| {
        let out = folder.path().join(out);
        let args = [script.to_str().unwrap(), binary.to_str().unwrap(), "x86_64-unknown-linux-gnu"];
        let output =
            python(&[&args[..], &["--version", "9.8.7", "--output", out.to_str().unwrap()]].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        out.join("kprof-9.8.7-py3-none-manylinux_2_17_x86_64.manylinux2014_x86_64.whl")
    };
    let wheel = make("a");
    let output = python(&["-c", CHECK, wheel.to_str().unwrap()]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(std::fs::read(&wheel).unwrap(), std::fs::read(make("b")).unwrap(), "the same bytes each time");
    let missing =
        python(&[script.to_str().unwrap(), "nothing", "x86_64-unknown-linux-gnu", "--version", "1"]);
    assert!(String::from_utf8_lossy(&missing.stderr).contains("no binary nothing"));
}
