//! The sensor under test: `tapline run` as a service manager would start it, and what it leaves behind.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::wire::{NEAR, Wire, until};

/// What every test's sensor is told; a test adds its own settings (`--set`).
const BASE: &str = r#"
[sensor]
memory = "256MiB"

[[interface]]
name = "NEAR"
buffer = "32MiB"

[flow]
partial = []

[rows]
format = "csv"
folder = "FOLDER"

[alerts]
file = false

[control]
listen = ""
socket = "SOCKET"
"#;

/// A sensor that has said that it is ready.
pub(crate) struct Sensor {
    child: Child,
    pub(crate) config: PathBuf,
    rows: PathBuf,
    socket: PathBuf,
    stats: PathBuf,
    errors: PathBuf,
    notices: UnixDatagram,
    /// What it told its service manager so far.
    told: Vec<String>,
}

/// What a sensor left behind.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) stats: Value,
    pub(crate) errors: String,
}

impl Sensor {
    /// Starts it with rows in the wire's folder, and waits until it is ready.
    #[track_caller]
    pub(crate) fn start(wire: &Wire, settings: &[(&str, &str)]) -> Self {
        Self::start_in(wire, &wire.path("rows"), settings)
    }

    /// The same with rows in a given folder.
    #[track_caller]
    pub(crate) fn start_in(wire: &Wire, rows: &Path, settings: &[(&str, &str)]) -> Self {
        let mut sensor = Self::spawn(wire, rows, settings, &[]);
        sensor.wait_for("READY=1", Duration::from_secs(20));
        sensor
    }

    /// Starts it and does not wait.
    #[track_caller]
    pub(crate) fn spawn(
        wire: &Wire,
        rows: &Path,
        settings: &[(&str, &str)],
        environment: &[(&str, &str)],
    ) -> Self {
        fs::create_dir_all(rows).unwrap();
        // In a folder of its own, which the sensor may read.
        let config = wire.path("etc/tapline.toml");
        fs::create_dir_all(config.parent().unwrap()).unwrap();
        let socket = wire.path("run/control");
        fs::create_dir_all(socket.parent().unwrap()).unwrap();
        let text = BASE
            .replace("NEAR", NEAR)
            .replace("FOLDER", rows.to_str().unwrap())
            .replace("SOCKET", socket.to_str().unwrap());
        fs::write(&config, text).unwrap();
        let address = wire.path("notify");
        drop(fs::remove_file(&address));
        let notices = UnixDatagram::bind(&address).unwrap();
        let errors = wire.path("errors");
        let stats = wire.path("stats.json");
        drop(fs::remove_file(&stats));
        // Whatever happens to the test, the sensor ends with it.
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", env!("CARGO_BIN_EXE_tapline"), "run", "-c"])
            .arg(&config)
            .arg("--stats")
            .arg(&stats);
        for (key, value) in settings {
            command.arg("--set").arg(format!("{key}={value}"));
        }
        let child = command
            .envs(environment.iter().copied())
            .env("NOTIFY_SOCKET", &address)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&errors).unwrap())
            .spawn()
            .unwrap();
        Self { child, config, rows: rows.to_owned(), socket, stats, errors, notices, told: Vec::new() }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal by name, such as `TERM`.
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.pid().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Waits for a line of the notifications that begins like this, and gives it.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, line: &str, limit: Duration) -> String {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(found) = self.next_told().filter(|told| told.starts_with(line)) {
                return found;
            }
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("the sensor ended ({status}) before {line}: {}", self.errors());
            }
            if Instant::now() > deadline {
                panic!("no {line} within {limit:?}: {}", self.errors());
            }
        }
    }

    /// The next line that it tells its service manager, if there is one soon.
    pub(crate) fn next_told(&mut self) -> Option<String> {
        if self.told.is_empty() {
            let mut text = [0; 4096];
            self.notices.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
            let read = self.notices.recv(&mut text).ok()?;
            self.told.extend(String::from_utf8_lossy(&text[..read]).lines().map(str::to_owned));
        }
        Some(self.told.remove(0))
    }

    /// What it has said on standard error.
    pub(crate) fn errors(&self) -> String {
        fs::read_to_string(&self.errors).unwrap()
    }

    /// What it says of itself: `GET /v1/status`.
    #[track_caller]
    pub(crate) fn status(&self) -> Value {
        let mut stream = UnixStream::connect(&self.socket).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream.write_all(b"GET /v1/status HTTP/1.1\r\nHost: sensor\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200"), "{answer}");
        serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}"))
    }

    /// What the sink of rows says of itself.
    #[track_caller]
    pub(crate) fn rows_sink(&self) -> Value {
        let status = self.status();
        let sinks = status["sinks"].as_array().unwrap();
        sinks.iter().find(|sink| sink["name"] == "rows").unwrap_or_else(|| panic!("{sinks:#?}")).clone()
    }

    /// Whether it has not ended.
    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Ends it as a service manager does.
    #[track_caller]
    pub(crate) fn stop(self) -> Ended {
        self.signal("TERM");
        self.wait(Duration::from_secs(30))
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn wait(mut self, limit: Duration) -> Ended {
        let deadline = Instant::now() + limit;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < deadline, "the sensor does not end: {}", self.errors());
            thread::sleep(Duration::from_millis(2));
        };
        let errors = self.errors();
        assert!(!errors.contains("panicked"), "{errors}");
        let stats = fs::read(&self.stats).ok().and_then(|json| serde_json::from_slice(&json).ok());
        Ended { status, stats: stats.unwrap_or(Value::Null), errors }
    }

    /// Ends it at once, as a crash would.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// The files with rows, oldest first.
    pub(crate) fn row_files(&self) -> Vec<PathBuf> {
        row_files(&self.rows)
    }

    /// The number of the first of its threads whose name begins like this.
    #[track_caller]
    pub(crate) fn thread(&self, name: &str) -> u32 {
        let mut names = Vec::new();
        for thread in fs::read_dir(format!("/proc/{}/task", self.pid())).unwrap() {
            let path = thread.unwrap().path();
            let comm = fs::read_to_string(path.join("comm")).unwrap();
            if comm.starts_with(name) {
                return path.file_name().unwrap().to_str().unwrap().parse().unwrap();
            }
            names.push(comm);
        }
        panic!("no thread {name} among {names:?}");
    }

    /// A field of `/proc/PID/status`, without its unit.
    pub(crate) fn status_of_process(&self, field: &str) -> String {
        let text = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        line.unwrap_or_else(|| panic!("no {field} in {text}")).trim().trim_end_matches(" kB").to_owned()
    }
}

impl Drop for Sensor {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Ended {
    /// A term of the account of packets.
    #[track_caller]
    pub(crate) fn packets(&self, term: &str) -> u64 {
        let value = &self.stats["packets"][term];
        value
            .as_u64()
            .unwrap_or_else(|| panic!("no count of packets {term} in {:#}; {}", self.stats, self.errors))
    }

    /// All went well.
    #[track_caller]
    pub(crate) fn assert_clean(&self) {
        assert!(self.status.success(), "{}: {}", self.status, self.errors);
        assert_eq!(self.packets("unaccounted"), 0);
    }
}

/// The files with flow rows in a folder, oldest first.
pub(crate) fn row_files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            name.starts_with("flows") && !name.contains("lock")
        })
        .collect();
    files.sort();
    files
}

/// The whole rows, headers among them, that files in a folder hold while they are written; the last may show in part.
pub(crate) fn rows_so_far(folder: &Path) -> String {
    let mut rows = String::new();
    for file in row_files(folder) {
        let text = fs::read_to_string(&file).unwrap_or_default();
        rows.push_str(text.rfind('\n').map_or("", |end| &text[..=end]));
    }
    rows
}

/// All rows of CSV files in a folder that nobody writes to, sorted, with their header in front; each file has the same header.
pub(crate) fn csv_rows(folder: &Path) -> String {
    let mut header = String::new();
    let mut rows = Vec::new();
    for file in row_files(folder) {
        let text = fs::read_to_string(&file).unwrap();
        let Some((first, rest)) = text.split_once('\n') else { continue };
        assert!(header.is_empty() || header == first, "{} has another header", file.display());
        header = first.to_owned();
        assert!(rest.is_empty() || rest.ends_with('\n'), "{} ends in a torn row", file.display());
        rows.extend(rest.lines().map(str::to_owned));
    }
    sorted(&header, rows)
}

/// Rows in an order of their own, header first.
pub(crate) fn sorted(header: &str, mut rows: Vec<String>) -> String {
    rows.sort_unstable();
    let mut text = header.to_owned();
    for row in rows {
        text.push('\n');
        text.push_str(&row);
    }
    text
}

/// Waits until a sensor has written rows.
#[track_caller]
pub(crate) fn until_rows(sensor: &Sensor) {
    until("rows", Duration::from_secs(20), || {
        sensor.row_files().iter().any(|file| fs::metadata(file).is_ok_and(|file| file.len() > 20_000))
    });
}
