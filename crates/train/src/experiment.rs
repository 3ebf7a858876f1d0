//! The log of trainings: parameters, metrics and files of each run, in a folder that `mlflow ui` shows.
//!
//! ```text
//!  <folder>/<experiment id>/meta.yaml
//!  <folder>/<experiment id>/<run id>/{meta.yaml, params/<key>, metrics/<key>, tags/<key>, artifacts/<file>}
//! ```
//!
//! This is MLflow's file store, written without MLflow. MLflow 3 reads it with `MLFLOW_ALLOW_FILE_STORE=true`, or moves it
//! into a database with `mlflow migrate-filestore`; `benches/check_mlflow.py` tries both. A run that was killed is
//! marked as running until it is continued.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use sha2::{Digest, Sha256};

use crate::TrainError;

/// A run that is being logged.
#[derive(Debug)]
pub struct Run {
    directory: PathBuf,
    experiment_id: String,
    id: String,
    name: String,
    start_ms: u128,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunStatus {
    /// It still goes on.
    Running,
    /// It came to its end.
    Finished,
    /// An error ended it.
    Failed,
    /// It was stopped, and can be continued.
    Killed,
}

impl Run {
    /// Begins a run of an experiment; both are made if they are not there. An experiment is known by its name.
    ///
    /// # Errors
    ///
    /// The folder cannot be read or written.
    pub fn start(folder: &Path, experiment: &str, name: &str) -> Result<Self, TrainError> {
        let start_ms = now_ms();
        let id = &hex(&[name, &start_ms.to_string(), &std::process::id().to_string()])[..32];
        let of_folder = |source| TrainError::Write { path: folder.to_owned(), source };
        fs::create_dir_all(folder).map_err(of_folder)?;
        let folder = fs::canonicalize(folder).map_err(of_folder)?;
        let experiment_id = match find(&folder, experiment).map_err(of_folder)? {
            Some(id) => id,
            None => create(&folder, experiment, start_ms)?,
        };
        let run = Self {
            directory: folder.join(&experiment_id).join(id),
            experiment_id,
            id: id.to_owned(),
            name: name.to_owned(),
            start_ms,
        };
        for part in ["params", "metrics", "tags", "artifacts"] {
            let path = run.directory.join(part);
            fs::create_dir_all(&path).map_err(|source| TrainError::Write { path, source })?;
        }
        run.tag("mlflow.runName", name)?;
        run.tag("mlflow.source.type", "LOCAL")?;
        run.tag("mlflow.source.name", "tapline train")?;
        run.describe(RunStatus::Running)?;
        Ok(run)
    }

    /// Goes on with a run of this id, if it is there; what it logs again replaces what it had logged.
    ///
    /// # Errors
    ///
    /// The folder cannot be read or written.
    pub fn resume(folder: &Path, experiment: &str, name: &str, id: &str) -> Result<Option<Self>, TrainError> {
        let failed = |source| TrainError::Read { path: folder.to_owned(), source };
        let Ok(folder) = fs::canonicalize(folder) else { return Ok(None) };
        let Some(experiment_id) = find(&folder, experiment).map_err(failed)? else { return Ok(None) };
        let directory = folder.join(&experiment_id).join(id);
        let Ok(meta) = fs::read_to_string(directory.join(META)) else { return Ok(None) };
        let start_ms = value(&meta, "start_time").and_then(|text| text.parse().ok()).unwrap_or_else(now_ms);
        let run = Self { directory, experiment_id, id: id.to_owned(), name: name.to_owned(), start_ms };
        let metrics = run.directory.join("metrics");
        let clear = || {
            fs::remove_dir_all(&metrics)?;
            fs::create_dir(&metrics)
        };
        clear().map_err(|source| TrainError::Write { path: metrics.clone(), source })?;
        run.describe(RunStatus::Running)?;
        Ok(Some(run))
    }

    /// Its id: 32 hexadecimal digits.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Where its files are.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Notes a setting.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn param(&self, key: &str, value: &str) -> Result<(), TrainError> {
        // MLflow refuses longer ones.
        let end = value.char_indices().map(|(at, _)| at).find(|at| *at >= 6_000).unwrap_or(value.len());
        self.put("params", key, &value.as_bytes()[..end])
    }

    /// Notes a label of the run.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn tag(&self, key: &str, value: &str) -> Result<(), TrainError> {
        self.put("tags", key, value.as_bytes())
    }

    /// Adds a point to a curve.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn metric(&self, key: &str, value: f64, step: u64) -> Result<(), TrainError> {
        let path = self.path("metrics", key);
        let write = || {
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent)?;
            }
            let mut file = OpenOptions::new().create(true).append(true).open(&path)?;
            // MLflow reads Python's spellings.
            let value = if value.is_nan() { "nan".to_owned() } else { value.to_string() };
            writeln!(file, "{} {value} {step}", now_ms())
        };
        write().map_err(|source| TrainError::Write { path: path.clone(), source })
    }

    /// Keeps a file with the run.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn artifact(&self, name: &str, bytes: &[u8]) -> Result<(), TrainError> {
        self.put("artifacts", name, bytes)
    }

    /// Ends the run.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn finish(self, status: RunStatus) -> Result<(), TrainError> {
        self.describe(status)
    }

    fn put(&self, part: &str, key: &str, bytes: &[u8]) -> Result<(), TrainError> {
        let path = self.path(part, key);
        let write = || {
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent)?;
            }
            File::create(&path)?.write_all(bytes)
        };
        write().map_err(|source| TrainError::Write { path: path.clone(), source })
    }

    /// The file of a key: letters, digits and `_-. /` as they are, anything else as `_`; never outside the run.
    fn path(&self, part: &str, key: &str) -> PathBuf {
        let name: String = key
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() || "_-. /".contains(c) { c } else { '_' })
            .collect();
        let inside = name.split('/').filter(|part| !matches!(*part, "" | "." | ".."));
        inside.fold(self.directory.join(part), |path, part| path.join(part))
    }

    fn describe(&self, status: RunStatus) -> Result<(), TrainError> {
        let (number, end) = match status {
            RunStatus::Running => (1, "null".to_owned()),
            RunStatus::Finished => (3, now_ms().to_string()),
            RunStatus::Failed => (4, now_ms().to_string()),
            RunStatus::Killed => (5, now_ms().to_string()),
        };
        let text = format!(
            "artifact_uri: {artifacts}\nend_time: {end}\nentry_point_name: ''\nexperiment_id: {experiment}\n\
             lifecycle_stage: active\nrun_id: {id}\nrun_name: {name}\nsource_name: ''\nsource_type: 4\n\
             source_version: ''\nstart_time: {start}\nstatus: {number}\ntags: []\nuser_id: tapline\n",
            artifacts = quoted(&uri(&self.directory.join("artifacts"))),
            experiment = quoted(&self.experiment_id),
            id = quoted(&self.id),
            name = quoted(&self.name),
            start = self.start_ms,
        );
        let path = self.directory.join(META);
        fs::write(&path, text).map_err(|source| TrainError::Write { path, source })
    }
}

/// The id of an experiment of this name, if there is one.
fn find(folder: &Path, experiment: &str) -> io::Result<Option<String>> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let Ok(meta) = fs::read_to_string(path.join(META)) else { continue };
        if value(&meta, "name") == Some(experiment.to_owned()) {
            return Ok(path.file_name().map(|id| id.to_string_lossy().into_owned()));
        }
    }
    Ok(None)
}

fn create(folder: &Path, experiment: &str, now_ms: u128) -> Result<String, TrainError> {
    // 18 digits, as MLflow's own ids.
    let number = u64::from_str_radix(&hex(&[experiment])[..15], 16).unwrap_or(0) % 900_000_000_000_000_000;
    let id = (100_000_000_000_000_000 + number).to_string();
    let directory = folder.join(&id);
    let text = format!(
        "artifact_location: {location}\ncreation_time: {now_ms}\nexperiment_id: {quoted_id}\nlast_update_time: {now_ms}\n\
         lifecycle_stage: active\nname: {name}\n",
        location = quoted(&uri(&directory)),
        quoted_id = quoted(&id),
        name = quoted(experiment),
    );
    let path = directory.join(META);
    fs::create_dir_all(&directory)
        .and_then(|()| fs::write(&path, text))
        .map_err(|source| TrainError::Write { path, source })?;
    Ok(id)
}

/// The value of a key in flat YAML as written here and by MLflow.
fn value(yaml: &str, key: &str) -> Option<String> {
    let line = yaml.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?.trim();
    let inner = line.strip_prefix('\'').and_then(|line| line.strip_suffix('\''));
    Some(inner.map_or_else(|| line.to_owned(), |inner| inner.replace("''", "'")))
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''").replace('\n', " "))
}

fn uri(path: &Path) -> String {
    let mut uri = "file://".to_owned();
    for byte in path.to_string_lossy().bytes() {
        if byte.is_ascii_alphanumeric() || b"/-_.~".contains(&byte) {
            uri.push(char::from(byte));
        } else {
            uri.push_str(&format!("%{byte:02X}"));
        }
    }
    uri
}

fn hex(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part);
        hash.update([0]);
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn now_ms() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis())
}

const META: &str = "meta.yaml";

#[cfg(test)]
mod tests {
    use super::*;

    fn read(run: &Run, path: &str) -> String {
        fs::read_to_string(run.directory().join(path)).unwrap()
    }

    #[test]
    fn a_run_is_laid_out_as_mlflow_lays_it_out() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("it's here/mlruns");
        let run = Run::start(&folder, "tapline's", "first: one").unwrap();
        run.param("network.hidden", "[64, 32]").unwrap();
        run.metric("validation/auc", 0.5, 0).unwrap();
        run.metric("validation/auc", f64::NAN, 1).unwrap();
        run.artifact("selection.tsv", b"rank\n").unwrap();
        run.artifact("../../escape", b"no").unwrap();
        assert_eq!(read(&run, "params/network.hidden"), "[64, 32]");
        assert_eq!(read(&run, "tags/mlflow.runName"), "first: one");
        assert_eq!(read(&run, "artifacts/selection.tsv"), "rank\n");
        assert_eq!(read(&run, "artifacts/escape"), "no");
        let curve = read(&run, "metrics/validation/auc");
        let points: Vec<&str> = curve.lines().map(|line| line.split_once(' ').unwrap().1).collect();
        assert_eq!(points, ["0.5 0", "nan 1"]);
        let meta = read(&run, "meta.yaml");
        assert!(meta.contains("\nrun_name: 'first: one'\n") && meta.contains("\nstatus: 1\n"), "{meta}");
        assert!(meta.contains("it%27s%20here/mlruns/"), "{meta}");
        let (directory, id) = (run.directory().to_owned(), run.id().to_owned());
        run.finish(RunStatus::Finished).unwrap();
        let meta = fs::read_to_string(directory.join("meta.yaml")).unwrap();
        assert!(meta.contains("\nstatus: 3\n") && !meta.contains("end_time: null"), "{meta}");

        let second = Run::start(&folder, "tapline's", "second").unwrap();
        assert_eq!(second.directory().parent(), directory.parent(), "an experiment is known by its name");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);

        let resumed = Run::resume(&folder, "tapline's", "first: one", &id).unwrap().unwrap();
        assert_eq!(value(&read(&resumed, "meta.yaml"), "start_time"), value(&meta, "start_time"));
        assert!(!directory.join("metrics/validation/auc").exists(), "curves are written anew");
        assert!(Run::resume(&folder, "tapline's", "x", "0123").unwrap().is_none());
        assert!(Run::resume(&folder, "other", "x", &id).unwrap().is_none());
        assert!(Run::resume(&dir.path().join("none"), "other", "x", &id).unwrap().is_none());
    }
}
