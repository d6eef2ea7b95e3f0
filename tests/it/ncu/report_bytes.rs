//! Writes small binary reports, so that each test says what stands in its file.

/// A protobuf message, or part of one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Proto(pub(super) Vec<u8>);

pub(crate) fn varint(mut value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
    out
}

impl Proto {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    fn key(mut self, number: u64, wire_type: u64) -> Self {
        self.0.extend(varint(number << 3 | wire_type));
        self
    }

    pub(crate) fn int(self, number: u64, value: u64) -> Self {
        let mut out = self.key(number, 0);
        out.0.extend(varint(value));
        out
    }

    pub(crate) fn double(self, number: u64, value: f64) -> Self {
        let mut out = self.key(number, 1);
        out.0.extend(value.to_le_bytes());
        out
    }

    pub(crate) fn float(self, number: u64, value: f32) -> Self {
        let mut out = self.key(number, 5);
        out.0.extend(value.to_le_bytes());
        out
    }

    pub(crate) fn bytes(self, number: u64, value: &[u8]) -> Self {
        let mut out = self.key(number, 2);
        out.0.extend(varint(value.len() as u64));
        out.0.extend(value);
        out
    }

    pub(crate) fn text(self, number: u64, value: &str) -> Self {
        self.bytes(number, value.as_bytes())
    }

    pub(crate) fn message(self, number: u64, value: &Proto) -> Self {
        self.bytes(number, &value.0)
    }

    /// The bytes after their length, as blocks and results stand in the file.
    pub(crate) fn framed(&self) -> Vec<u8> {
        [&(self.0.len() as u32).to_le_bytes()[..], &self.0].concat()
    }
}

/// The start of every report.
pub(crate) fn start() -> Vec<u8> {
    [b"NVR\0".as_slice(), &Proto::new().int(1, 7).framed()].concat()
}

/// A block without a payload.
pub(crate) fn header_block(number: u64, message: &Proto) -> Vec<u8> {
    Proto::new().int(1, 0).int(2, 0).message(number, message).int(5, 0).framed()
}

pub(crate) fn string_block(names: &[&str]) -> Vec<u8> {
    header_block(4, &names.iter().fold(Proto::new(), |table, name| table.text(1, name)))
}

/// A block with sources, launches and ranges.
pub(crate) fn payload_block(sources: &[&[u8]], launches: &[Proto], ranges: &[Proto]) -> Vec<u8> {
    let framed_source = |s: &&[u8]| [&(s.len() as u32).to_le_bytes()[..], s].concat();
    let results = launches.iter().chain(ranges).flat_map(Proto::framed);
    let payload: Vec<u8> = sources.iter().flat_map(framed_source).chain(results).collect();
    let process = Proto::new().int(1, 4242).text(2, "host").text(3, "app");
    let header = Proto::new()
        .int(1, sources.len() as u64)
        .int(2, launches.len() as u64)
        .int(5, payload.len() as u64)
        .message(6, &process)
        .int(7, ranges.len() as u64);
    [header.framed(), payload].concat()
}

/// A metric with a value of any of the types.
pub(crate) fn metric(name: u64, value: Proto) -> Proto {
    Proto::new().int(1, name).message(2, &value)
}

pub(crate) fn double(value: f64) -> Proto {
    Proto::new().double(3, value)
}

pub(crate) fn launch(kernel: &str, metrics: &[Proto]) -> Proto {
    let shape = |x| Proto::new().int(1, x).int(2, 1).int(3, 1);
    let head = Proto::new()
        .int(1, 99)
        .text(5, "_Zmangled")
        .text(6, "function")
        .text(7, kernel)
        .message(10, &shape(64))
        .message(11, &shape(256))
        .int(16, 0)
        .int(22, 1)
        .int(23, 7);
    metrics.iter().fold(head, |launch, m| launch.message(13, m))
}

/// A device of compute capability 8.6.
pub(crate) fn session_block() -> Vec<u8> {
    let attribute = |name: &str, value: u64| {
        let name = format!("device__attribute_{name}");
        Proto::new().text(1, &name).message(2, &Proto::new().int(5, value))
    };
    let device = Proto::new()
        .int(1, 0)
        .text(2, "Test GPU")
        .message(3, &attribute("compute_capability_major", 8))
        .message(3, &attribute("compute_capability_minor", 6));
    header_block(3, &Proto::new().message(6, &device))
}

/// The metrics of [`whole`], by number.
pub(crate) const NAMES: [&str; 4] =
    ["gpu__time_duration.sum", "dram__bytes.sum", "sm__warps_active.avg", "device__attribute_display_name"];

/// Two launches, their names after them: 1 us and 2 us, 4096 B and 8192 B.
pub(crate) fn whole() -> Vec<u8> {
    let metrics = |time, bytes| {
        let name = Proto::new().text(1, "Test GPU");
        [
            metric(0, double(time)),
            metric(1, Proto::new().int(5, bytes)),
            metric(2, double(3.5)),
            metric(3, name),
        ]
    };
    [
        start(),
        payload_block(&[b"cubin of any bytes"], &[launch("first(int)", &metrics(1000.0, 4096))], &[]),
        session_block(),
        payload_block(&[], &[launch("second(int)", &metrics(2000.0, 8192))], &[]),
        string_block(&NAMES),
    ]
    .concat()
}
