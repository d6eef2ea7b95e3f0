//! What the machine did over the run: clocks, power, temperature, memory, and whose CPU time it was.

use super::super::canvas::Rgb;
use super::super::legend::{Entry, Sample, Section};
use super::super::marks::{OTHER, series_color};
use super::super::plane::{Division, Plane, Spec, Unit};
use super::super::sheet::{Head, Sheet, rows};
use super::super::{ChartOptions, Figure};
use super::FigureInput;
use crate::profile::{GpuSample, Run, UsageRecord};

/// A quantity over time, of one or more sources.
struct Panel {
    title: &'static str,
    unit: Unit,
    division: Division,
    lines: Vec<Line>,
}

struct Line {
    name: String,
    color: Rgb,
    /// Seconds since the start, and the value.
    points: Vec<(f64, f64)>,
}

pub(super) fn figure(input: &FigureInput, options: &ChartOptions) -> Option<Figure> {
    let watched = |run: &&Run| !run.telemetry.is_empty() || !run.usage.is_empty();
    let run = input.runs.iter().find(watched)?;
    let mut panels = sampled(run);
    panels.extend(cpu_time(run));
    if panels.is_empty() {
        return None;
    }
    let mut entries: Vec<Entry> = Vec::new();
    for line in panels.iter().flat_map(|p| &p.lines) {
        if entries.iter().all(|e| e.text != line.name) {
            entries.push(Entry { sample: Sample::Box(line.color), text: line.name.clone() });
        }
    }
    let legend = [Section { title: "Of what", entries }];
    let note = "samples, and CPU time of each stage of each repetition · whole devices, whoever used them";
    let size = (1000, 110 + 170 * panels.len() as u32);
    let head = Head {
        title: "The machine during the run",
        note,
        legend: &legend,
        size,
        body: 100.0 * panels.len() as f64 + 30.0,
    };
    let mut sheet = Sheet::new(options, &head);
    let times: Vec<f64> =
        panels.iter().flat_map(|p| &p.lines).flat_map(|l| &l.points).map(|(t, _)| *t).collect();
    let last = panels.len() - 1;
    for (i, (panel, area)) in panels.iter().zip(rows(sheet.body, panels.len(), 6.0)).enumerate() {
        let title = if i == last { "time since the start" } else { "" };
        let x = Spec::new(title, Unit::Si("s"), Division::Zero, times.clone());
        let values = panel.lines.iter().flat_map(|l| &l.points).map(|(_, v)| *v).collect();
        let y = Spec::new(panel.title, panel.unit, panel.division.clone(), values);
        let plane = Plane::new(area, &x, &y);
        plane.draw(&mut sheet.canvas);
        for line in &panel.lines {
            plane.line(&mut sheet.canvas, &line.points, line.color, 0);
            if line.points.len() < 2 {
                line.points.iter().for_each(|p| sheet.canvas.circle(plane.at(*p), 3.0, line.color, None));
            }
        }
    }
    Some(sheet.finish())
}

/// The panels of samples; a quantity that no sample has gives none.
fn sampled(run: &Run) -> Vec<Panel> {
    let clock = line("CPU", series_color(0), run.telemetry.iter().map(|t| (t.at_s, t.cpu_clock_hz)));
    let of_gpus = |value: fn(&GpuSample) -> Option<f64>| gpus(run, value);
    let mut clocks: Vec<Line> = clock.into_iter().collect();
    clocks.extend(of_gpus(|g| g.sm_clock_hz));
    let mut power = counters(run);
    power.extend(of_gpus(|g| g.power_w));
    let panel = |title, unit, lines| Panel { title, unit, division: Division::Near, lines };
    let all = [
        panel("clock", Unit::Si("Hz"), clocks),
        panel("power", Unit::Si("W"), power),
        panel("temperature", Unit::Plain("°C"), of_gpus(|g| g.temperature_c)),
        panel("memory in use", Unit::Iec, of_gpus(|g| g.memory_used_bytes)),
    ];
    all.into_iter().filter(|p| !p.lines.is_empty()).collect()
}

fn line(name: &str, color: Rgb, points: impl Iterator<Item = (f64, Option<f64>)>) -> Option<Line> {
    let points: Vec<(f64, f64)> = points.filter_map(|(t, v)| Some((t, v?))).collect();
    (!points.is_empty()).then(|| Line { name: name.to_string(), color, points })
}

fn gpus(run: &Run, value: fn(&GpuSample) -> Option<f64>) -> Vec<Line> {
    let mut indices: Vec<u32> = run.telemetry.iter().flat_map(|t| &t.gpus).map(|g| g.index).collect();
    indices.sort_unstable();
    indices.dedup();
    let of = |index: &u32| {
        let sample = run.telemetry.iter().map(|t| (t.at_s, t.gpus.iter().find(|g| g.index == *index)));
        let points = sample.map(|(t, g)| (t, g.and_then(value)));
        line(&format!("GPU {index}"), series_color(1 + *index as usize), points)
    };
    indices.iter().filter_map(of).collect()
}

fn counters(run: &Run) -> Vec<Line> {
    let mut names: Vec<&str> =
        run.telemetry.iter().flat_map(|t| &t.power).map(|p| p.counter.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    let of = |(i, name): (usize, &&str)| {
        let reading = |t: &crate::profile::TelemetryRecord| {
            t.power.iter().find(|p| p.counter == **name).map(|p| p.power_w)
        };
        line(name, series_color(3 + i), run.telemetry.iter().map(|t| (t.at_s, reading(t))))
    };
    names.iter().enumerate().filter_map(of).collect()
}

/// Whose time that of the CPUs was, in per cent of all that this process could use.
fn cpu_time(run: &Run) -> Option<Panel> {
    let share = |value: fn(&UsageRecord) -> Option<f64>| {
        run.usage.iter().map(move |u| {
            let all = u.cpus.map(|cpus| cpus as f64 * u.wall_s).filter(|t| *t > 0.0);
            let share = value(u).zip(all).map(|(time, all)| 100.0 * time / all);
            (u.at_s + u.wall_s / 2.0, share)
        })
    };
    let lines = [
        line("own CPU time", series_color(2), share(|u| u.own_cpu_s)),
        line("others' CPU time", series_color(5), share(|u| u.others_cpu_s)),
        line("stolen by a hypervisor", OTHER, share(|u| u.steal_s)),
    ];
    let lines: Vec<Line> = lines.into_iter().flatten().collect();
    let panel = Panel { title: "CPU time", unit: Unit::Plain("%"), division: Division::Zero, lines };
    (!panel.lines.is_empty()).then_some(panel)
}
