//! Build facts for `tapline --version`.

use std::process::Command;

fn main() {
    // Changes with every commit and checkout; a source archive has none.
    if std::path::Path::new(".git/logs/HEAD").exists() {
        println!("cargo::rerun-if-changed=.git/logs/HEAD");
    }
    println!("cargo::rerun-if-changed=crates/daemon/build.rs");
    let commit = output("git", &["rev-parse", "--short=12", "HEAD"]);
    let rustc = output(&std::env::var("RUSTC").unwrap_or_else(|_| "rustc".into()), &["--version"]);
    println!("cargo::rustc-env=TAPLINE_COMMIT={}", commit.unwrap_or_else(|| "unknown".into()));
    println!("cargo::rustc-env=TAPLINE_RUSTC={}", rustc.unwrap_or_else(|| "unknown".into()));
    println!("cargo::rustc-env=TAPLINE_TARGET={}", std::env::var("TARGET").unwrap_or_default());
    let features: Vec<&str> = [
        ("libpcap", std::env::var_os("CARGO_FEATURE_LIBPCAP").is_some()),
        ("parquet", std::env::var_os("CARGO_FEATURE_PARQUET").is_some()),
        ("parquet-zstd", std::env::var_os("CARGO_FEATURE_PARQUET_ZSTD").is_some()),
        ("webhook", std::env::var_os("CARGO_FEATURE_WEBHOOK").is_some()),
        ("webhook-tls", std::env::var_os("CARGO_FEATURE_WEBHOOK_TLS").is_some()),
        ("cuda", std::env::var_os("CARGO_FEATURE_CUDA").is_some()),
    ]
    .into_iter()
    .filter_map(|(name, built)| built.then_some(name))
    .collect();
    println!("cargo::rustc-env=TAPLINE_FEATURES={}", features.join(" "));
}

fn output(program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(program).args(args).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
