//! The way to the stream: at once, or for decode steps collected and run as a captured graph.
//!
//! A decode step asks for the same launches with the same arguments every time, since what changes from step to step
//! (tokens, positions, the length of the context) is read from device memory. So a step's launches are collected; where
//! the same have been captured before, that graph runs, and otherwise they are captured first. A step that differs,
//! because another version or other memory is at work, merely is captured anew: no graph ever runs in place of other
//! launches.

use super::blas::{Blas, Product};
use super::driver::Gpu;
use super::error::CudaError;
use super::handles::{Event, Graph};
use super::launch::Launch;
use std::rc::Rc;

/// How decode steps reach the device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ExecMode {
    /// Each launch on its own.
    #[default]
    Eager,
    /// A step's launches as one CUDA graph.
    Graph,
}

impl ExecMode {
    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Eager => "eager",
            Self::Graph => "graph",
        }
    }
}

impl std::str::FromStr for ExecMode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Self::Eager, Self::Graph]
            .into_iter()
            .find(|mode| mode.name() == text)
            .ok_or_else(|| format!("unknown mode '{text}'; known: eager, graph"))
    }
}

/// Graphs that are kept: versions x twins, a few shapes of each.
const MOST_GRAPHS: usize = 64;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Command {
    Launch(Launch),
    Product(Product),
    /// Event number so much is recorded.
    Record(usize),
}

/// The queue of one device.
#[derive(Debug)]
pub(super) struct Queue {
    pub(super) gpu: Rc<Gpu>,
    mode: ExecMode,
    /// Whether launches go out at once, whatever the mode.
    pub(super) singly: bool,
    /// Whether nothing that is asked for is to be done.
    pub(super) rehearsing: bool,
    /// What is collected; `None` while launches go out at once.
    collected: Option<Vec<Command>>,
    graphs: Vec<(Vec<Command>, Graph)>,
    /// Who computes products of many rows, where that is a library; it outlives the graphs that hold its kernels.
    pub(super) blas: Option<Rc<Blas>>,
    events: Vec<Event>,
    recorded: usize,
}

impl Queue {
    pub(super) fn new(gpu: &Rc<Gpu>, mode: ExecMode) -> Self {
        let gpu = Rc::clone(gpu);
        Self {
            gpu,
            mode,
            singly: false,
            rehearsing: false,
            blas: None,
            collected: None,
            graphs: Vec::new(),
            events: Vec::new(),
            recorded: 0,
        }
    }

    /// A step begins; in graph mode one that `repeats` is collected.
    pub(super) fn begin(&mut self, repeats: bool) -> Result<(), CudaError> {
        self.run()?;
        self.collected = (repeats && self.mode == ExecMode::Graph && !self.singly).then(Vec::new);
        Ok(())
    }

    /// Asks for a launch.
    pub(super) fn launch(&mut self, launch: Launch) -> Result<(), CudaError> {
        if self.rehearsing {
            return Ok(());
        }
        match &mut self.collected {
            Some(commands) => {
                commands.push(Command::Launch(launch));
                Ok(())
            }
            None => self.gpu.launch(&launch),
        }
    }

    /// Asks for a product of the library, which a plan of it says is there.
    pub(super) fn product(&mut self, product: Product) -> Result<(), CudaError> {
        if self.rehearsing {
            return Ok(());
        }
        match &mut self.collected {
            Some(commands) => {
                commands.push(Command::Product(product));
                Ok(())
            }
            None => self.blas.as_ref().map_or(Ok(()), |blas| blas.run(&product)),
        }
    }

    /// Records the next event and gives its number; numbers begin anew after [`Self::forget_events`].
    pub(super) fn record(&mut self) -> Result<usize, CudaError> {
        let number = self.recorded;
        if number == self.events.len() {
            self.events.push(self.gpu.event()?);
        }
        self.recorded += 1;
        match &mut self.collected {
            Some(commands) => commands.push(Command::Record(number)),
            None => self.gpu.record(&self.events[number], false)?,
        }
        Ok(number)
    }

    /// Event number so much.
    pub(super) fn event(&self, number: usize) -> &Event {
        &self.events[number]
    }

    /// Forgets what was captured, and what was collected for a step that failed, when the memory that they work on is given
    /// back.
    pub(super) fn forget_graphs(&mut self) {
        self.collected = None;
        // One may still run.
        if self.gpu.wait().is_ok() {
            self.graphs.clear();
        }
    }

    /// Events may be used again: all spans were resolved.
    pub(super) fn forget_events(&mut self) {
        self.recorded = 0;
    }

    /// Hands what was collected to the stream; afterwards launches go out at once.
    pub(super) fn run(&mut self) -> Result<(), CudaError> {
        let Some(commands) = self.collected.take().filter(|c| !c.is_empty()) else { return Ok(()) };
        if let Some((_, graph)) = self.graphs.iter().find(|(known, _)| *known == commands) {
            return self.gpu.launch_graph(graph);
        }
        let gpu = Rc::clone(&self.gpu);
        let blas = self.blas.clone();
        // Loading a kernel is nothing to do while a stream is captured.
        for command in &commands {
            match (command, &blas) {
                (Command::Launch(launch), _) => gpu.load(launch.kernel)?,
                (Command::Product(product), Some(blas)) => blas.load(product)?,
                _ => {}
            }
        }
        let graph = gpu.capture(|| {
            commands.iter().try_for_each(|command| match command {
                Command::Launch(launch) => gpu.launch(launch),
                Command::Product(product) => blas.as_ref().map_or(Ok(()), |blas| blas.run(product)),
                Command::Record(number) => gpu.record(&self.events[*number], true),
            })
        })?;
        gpu.launch_graph(&graph)?;
        if self.graphs.len() == MOST_GRAPHS {
            // The oldest goes; it may still run.
            gpu.wait()?;
            self.graphs.remove(0);
        }
        self.graphs.push((commands, graph));
        Ok(())
    }
}
