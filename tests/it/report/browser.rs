//! The page in a headless browser: a script inside it uses it as a reader would (`browser.js`); without scripts it still
//! reads. Where there is no Chromium the tests are skipped, and say so. KPROF_LOOK=FOLDER keeps screenshots.

use super::{RUN, page};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const NAMES: [&str; 5] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"];

/// What collects complaints, before any other script of the page.
const COLLECT: &str = "<script>window.kprofProblems = [];
for (const level of ['error', 'warn']) console[level] = (...all) => window.kprofProblems.push(all.join(' '));
addEventListener('error', (e) => window.kprofProblems.push(e.message));
addEventListener('unhandledrejection', (e) => window.kprofProblems.push(String(e.reason)));
addEventListener('securitypolicyviolation', (e) => window.kprofProblems.push(`refused: ${e.blockedURI} ${e.violatedDirective}`));
</script>";

fn browser() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("KPROF_CHROMIUM") {
        return Some(path.into());
    }
    let folders: Vec<PathBuf> = std::env::split_paths(&std::env::var_os("PATH")?).collect();
    NAMES.iter().flat_map(|name| folders.iter().map(move |f| f.join(name))).find(|path| path.is_file())
}

/// Runs the browser on a page and gives its stdout; `None`, having said so, where there is no browser.
fn run(test: &str, html: &str, args: &[&str]) -> Option<String> {
    let Some(browser) = browser() else {
        println!("skipped: {test}: no Chromium on PATH (KPROF_CHROMIUM names one)");
        return None;
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("page.html");
    std::fs::write(&path, html).unwrap();
    let profile = format!("--user-data-dir={}", folder.path().join("profile").display());
    let mut child = Command::new(&browser)
        .args([
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--hide-scrollbars",
        ])
        .args(["--no-first-run", "--disable-background-networking", "--virtual-time-budget=4000", &profile])
        .args(args)
        .arg(format!("file://{}", path.display()))
        .stdout(std::fs::File::create(folder.path().join("out")).unwrap())
        .stderr(Stdio::null())
        .spawn()
        .expect("the browser starts");
    let begun = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if begun.elapsed() > Duration::from_secs(120) {
            let _ = child.kill();
            panic!("{} did not end", browser.display());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Some(std::fs::read_to_string(folder.path().join("out")).unwrap_or_default())
}

/// The page with what collects complaints first and the checks last.
fn with_checks(html: &str) -> String {
    let html = html.replacen("<body>", &format!("<body>{COLLECT}"), 1);
    html.replace("</body>", &format!("<script>{}</script></body>", include_str!("browser.js")))
}

fn checked(test: &str, size: &str) {
    let html = with_checks(&page(&[RUN]));
    let Some(dom) = run(test, &html, &["--dump-dom", &format!("--window-size={size}")]) else { return };
    let title = dom.split("<title>").nth(1).and_then(|t| t.split("</title>").next()).unwrap_or_default();
    assert!(title.lines().count() > 30 && !title.contains("FAILED"), "{title}");
    look(test, &page(&[RUN]), size);
}

/// Screenshots, light and dark, where they are asked for.
fn look(test: &str, html: &str, size: &str) {
    let Some(folder) = std::env::var_os("KPROF_LOOK") else { return };
    let tall = format!("--window-size={},6000", size.split(',').next().unwrap());
    for theme in ["light", "dark"] {
        let html = html.replacen("<html lang", &format!("<html data-theme=\"{theme}\" lang"), 1);
        let shot = Path::new(&folder).join(format!("{test}-{theme}.png"));
        run(test, &html, &[&format!("--screenshot={}", shot.display()), &tall]);
    }
}

#[test]
fn hover_filters_selection_zoom_and_tables_work_on_a_wide_screen() {
    checked("report-1440", "1440,1000");
}

#[test]
fn hover_filters_selection_zoom_and_tables_work_on_a_phone() {
    // Headless windows are not narrower than 500 pixels; a frame of 390 is what a phone has.
    let inner = with_checks(&page(&[RUN]));
    let name = "report-390";
    let outer = format!(
        "<!DOCTYPE html><html><body style=\"margin:0\"><iframe id=\"f\" style=\"border:0;width:390px;height:6000px\" \
         srcdoc=\"{}\"></iframe><script>setTimeout(() => {{ document.title = \
         document.getElementById('f').contentDocument.querySelector('title').textContent; }}, 1500)</script></body></html>",
        inner.replace('&', "&amp;").replace('"', "&quot;")
    );
    let Some(dom) = run(name, &outer, &["--dump-dom", "--window-size=800,1000"]) else { return };
    let title = dom.split("<title>").nth(1).and_then(|t| t.split("</title>").next()).unwrap_or_default();
    assert!(title.lines().count() > 30 && !title.contains("FAILED"), "{title}");
    if let Some(folder) = std::env::var_os("KPROF_LOOK") {
        let shot = format!("--screenshot={}", Path::new(&folder).join("report-390.png").display());
        run(name, &outer.replace(include_str!("browser.js"), ""), &[&shot, "--window-size=600,6000"]);
    }
}

#[test]
fn the_page_reads_without_scripts() {
    // In a sandbox that allows none, looked at from outside.
    let inner = page(&[RUN]).replace('&', "&amp;").replace('"', "&quot;");
    let outer = format!(
        "<!DOCTYPE html><html><head><title>nothing</title></head><body><iframe id=\"f\" sandbox=\"allow-same-origin\" \
         width=1200 height=4000 srcdoc=\"{inner}\"></iframe><script>setTimeout(() => {{
            const d = document.getElementById('f').contentDocument;
            const visible = (q) => [...d.querySelectorAll(q)].filter((e) => e.getClientRects().length > 0).length;
            document.title = ['figure', '#figure-roofline', 'table', '#chart', '#theme', 'input', '#verdict li']
                .map((q) => `${{q}} ${{visible(q)}}`).join('; ');
         }}, 1500)</script></body></html>"
    );
    let Some(dom) = run("report without scripts", &outer, &["--dump-dom", "--window-size=1300,1000"]) else {
        return;
    };
    let title = dom.split("<title>").nth(1).and_then(|t| t.split("</title>").next()).unwrap_or_default();
    let count = |what: &str| -> usize {
        let of = |part: &str| part.trim().strip_prefix(what)?.strip_prefix(' ')?.parse().ok();
        title.split(';').find_map(of).unwrap_or_else(|| panic!("{what}: {title}"))
    };
    assert!(count("figure") > 8 && count("table") > 5 && count("#verdict li") > 3, "{title}");
    assert_eq!(count("#figure-roofline"), 1, "the picture of the roofline is shown");
    assert_eq!(
        (count("#chart"), count("#theme"), count("input")),
        (0, 0, 0),
        "and nothing that needs a script: {title}"
    );
}
