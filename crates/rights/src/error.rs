//! Why rights could not be dropped. A kernel that lacks a measure is no error: the [`Report`](crate::Report) says so.

use std::io;
use std::path::PathBuf;

/// Rights could not be dropped as planned; the process has dropped some of them, and should end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RightsError {
    /// There are other threads, which would keep their rights.
    #[error("rights are dropped by the only thread of the process, but it has {count}")]
    OtherThreads {
        /// How many threads there are.
        count: usize,
    },
    /// The kernel did not take a step that every kernel knows.
    #[error("cannot {step}")]
    Step {
        /// What was tried.
        step: &'static str,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// A file or folder that is to stay open to the process is not there, or cannot be reached.
    #[error("cannot keep {path} open to the sensor; make it, or take it out of the configuration", path = .path.display())]
    Path {
        /// The file or folder.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// What is to be written to is not a folder.
    #[error("{folder} is not a folder; name the folder of the files to be written", folder = .folder.display())]
    NotAFolder {
        /// What was named.
        folder: PathBuf,
    },
    /// The folder cannot be written to without the capabilities that are dropped.
    #[error(
        "cannot write to {folder} as user {user_id} without root's capabilities; give it to that user: chown {user_id} \
         {folder}",
        folder = .folder.display()
    )]
    NotWritable {
        /// The folder.
        folder: PathBuf,
        /// The user that the process runs as.
        user_id: u32,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The kernel has Landlock, but did not take the rules.
    #[error("cannot restrict files and ports by Landlock; `landlock = false` in [rights] goes on without")]
    Landlock {
        /// What the kernel or the rules' library said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The kernel has seccomp, but did not take the program.
    #[error("cannot restrict system calls by seccomp; `seccomp = false` in [rights] goes on without")]
    Seccomp {
        /// What the kernel or the program's library said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}
