//! What goes before what, and what each key changes.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use tapline_config::{
    Changes, Compress, Config, ConfigError, DEFAULT_TOML, Encapsulation, Fanout, Layers, LogFormat, LogLevel,
    RowFormat, SyslogTarget, Timestamp,
};

fn read(text: &str) -> Config {
    Config::from_toml(text, Path::new("tapline.toml")).unwrap()
}

fn layers(environment: &[(&str, &str)], settings: &[&str]) -> Layers {
    Layers {
        file: None,
        environment: environment.iter().map(|(name, value)| (name.into(), value.into())).collect(),
        settings: settings.iter().map(|&setting| setting.to_owned()).collect(),
    }
}

fn set(settings: &[&str]) -> Config {
    Config::load(&layers(&[], settings)).unwrap()
}

fn names(config: &Config) -> Vec<&str> {
    config.interfaces.iter().map(|interface| interface.name.as_str()).collect()
}

#[test]
fn the_default_is_what_its_file_says() {
    let config = Config::default();
    assert_eq!(config, read(""));
    assert_eq!(config, read(DEFAULT_TOML));
    assert_eq!(config, Config::load(&Layers::default()).unwrap());
    assert_eq!(
        (config.sensor.name.as_deref(), config.sensor.memory_bytes, config.sensor.workers),
        (None, 512 << 20, 1)
    );
    let [eth0] = &config.interfaces[..] else { panic!("{:?}", config.interfaces) };
    assert_eq!((eth0.name.as_str(), eth0.filter.as_deref(), eth0.readers), ("eth0", None, 1));
    assert_eq!((eth0.buffer_bytes, eth0.snap_length_bytes), (64 << 20, 256 << 10));
    assert_eq!((eth0.fanout, eth0.timestamp), (Fanout::HostPair, Timestamp::Host));
    assert!(eth0.promiscuous && eth0.outgoing);
    assert_eq!((config.flow.idle_timeout_us, config.flow.active_timeout_us), (120_000_000, 1_800_000_000));
    assert_eq!(config.flow.partial_us, [1_000_000, 10_000_000, 60_000_000]);
    assert!(
        config.flow.vlan_in_key && config.flow.dedup_us.is_none() && config.flow.no_decapsulate.is_empty()
    );
    assert_eq!(config.emergency.idle_timeout_us, 10_000_000);
    assert_eq!((config.emergency.enter_percent, config.emergency.leave_percent), (90, 70));
    assert_eq!((config.scoring.model.as_deref(), config.scoring.shed_percent), (None, 50));
    assert_eq!((config.rows.format, config.rows.compress), (RowFormat::Ndjson, Compress::None));
    assert_eq!(config.rows.folder, Path::new("/var/log/tapline"));
    assert_eq!((config.rows.rotate_size_bytes, config.rows.rotate_age_us), (256 << 20, Some(3_600_000_000)));
    assert_eq!((config.rows.keep_files, config.rows.keep_size_bytes), (48, 8 << 30));
    assert_eq!(
        (config.eve.enabled, config.eve.flows, config.eve.stats_every_us),
        (false, true, Some(10_000_000))
    );
    assert_eq!((config.alerts.file, &config.alerts.syslog, &config.alerts.webhook), (true, &None, &None));
    assert_eq!(config.control.listen, Some("127.0.0.1:9477".parse().unwrap()));
    assert_eq!(config.control.socket.as_deref(), Some(Path::new("/run/tapline/tapline.sock")));
    assert!(config.rights.landlock && config.rights.seccomp);
    assert_eq!((config.log.level, config.log.format), (LogLevel::Info, LogFormat::Text));
}

/// Each key of the default file, a value that it does not have by default, and what differs then.
const OTHER_VALUES: &[(&str, &str, bool)] = &[
    ("sensor.name", "gate", false),
    ("sensor.memory", "1GiB", false),
    ("sensor.workers", "4", false),
    ("interface.0.name", "wlan0", false),
    ("interface.0.filter", "tcp port 80", false),
    ("interface.0.readers", "2", false),
    ("interface.0.fanout", "hash", false),
    ("interface.0.buffer", "8MiB", false),
    ("interface.0.snap_length", "96B", false),
    ("interface.0.promiscuous", "false", false),
    ("interface.0.outgoing", "false", false),
    ("interface.0.timestamp", "adapter", false),
    ("flow.idle_timeout", "60s", false),
    ("flow.active_timeout", "1h", false),
    ("flow.partial", "[]", false),
    ("flow.vlan_in_key", "false", false),
    ("flow.dedup", "1ms", false),
    ("flow.no_decapsulate", "gre,vxlan", false),
    ("emergency.idle_timeout", "5s", true),
    ("emergency.enter_percent", "80", true),
    ("emergency.leave_percent", "60", true),
    ("scoring.model", "/usr/share/tapline/model", true),
    ("scoring.shed_percent", "100", true),
    ("rows.format", "parquet", false),
    ("rows.folder", "/data", false),
    ("rows.rotate_size", "1GiB", false),
    ("rows.rotate_age", "0s", false),
    ("rows.keep_files", "1", false),
    ("rows.keep_size", "1TiB", false),
    ("rows.compress", "zstd", false),
    ("eve.enabled", "true", false),
    ("eve.flows", "false", false),
    ("eve.stats_every", "1m", false),
    ("alerts.file", "false", false),
    ("alerts.syslog", "unix:/dev/log", false),
    ("alerts.webhook", "http://127.0.0.1:8080/alerts", false),
    ("control.listen", "[::1]:9000", false),
    ("control.socket", "", false),
    ("rights.landlock", "false", false),
    ("rights.seccomp", "false", false),
    ("log.level", "debug", true),
    ("log.format", "json", false),
];

#[test]
fn each_key_changes_its_value_and_nothing_else_from_every_layer() {
    let default = Config::default();
    let mut tried = Vec::new();
    for &(key, value, is_live) in OTHER_VALUES {
        let config = set(&[&format!("{key}={value}")]);
        let changes = default.changes(&config);
        let expected = vec![key.to_owned()];
        let expected = if is_live {
            Changes { live: expected, restart: Vec::new() }
        } else {
            Changes { live: Vec::new(), restart: expected }
        };
        assert_eq!(changes, expected, "{key}");

        let variable = format!("TAPLINE_{}", key.to_uppercase().replace('.', "__"));
        assert_eq!(Config::load(&layers(&[(&variable, value)], &[])).unwrap(), config, "{variable}");

        let (section, name) = key.rsplit_once('.').unwrap();
        let effective: toml::Table = config.effective_toml().parse().unwrap();
        let file = match section {
            "interface.0" if name == "name" => {
                format!("[[interface]]\nname = {}\n", effective["interface"][0][name])
            }
            "interface.0" => {
                format!("[[interface]]\nname = \"eth0\"\n{name} = {}\n", effective["interface"][0][name])
            }
            _ => format!("[{section}]\n{name} = {}\n", effective[section][name]),
        };
        assert_eq!(read(&file), config, "{file}");
        tried.push(key.replace("interface.0", "interface"));
    }
    let mut documented = Vec::new();
    let table: toml::Table = DEFAULT_TOML.parse().unwrap();
    for (section, value) in table {
        let keys = value.as_table().or_else(|| value.get(0)?.as_table()).unwrap();
        documented.extend(keys.keys().map(|name| format!("{section}.{name}")));
    }
    tried.sort();
    documented.sort();
    assert_eq!(tried, documented);
}

#[test]
fn typed_values_arrive() {
    let config = set(&[
        "flow.no_decapsulate=[\"gre\", \"vxlan\"]",
        "flow.partial=500ms, 2s",
        "flow.dedup=1ms",
        "alerts.syslog=udp://[::1]:514",
        "rows.rotate_age=0ms",
        "eve.stats_every=0s",
        "control.listen=",
        "sensor.name=42",
        "interface.0.fanout=hash-defragmented",
    ]);
    assert_eq!(config.flow.no_decapsulate, [Encapsulation::Gre, Encapsulation::Vxlan]);
    assert_eq!((config.flow.partial_us, config.flow.dedup_us), (vec![500_000, 2_000_000], Some(1_000)));
    assert_eq!(config.alerts.syslog, Some(SyslogTarget::Udp("[::1]:514".to_owned())));
    assert_eq!(
        (config.rows.rotate_age_us, config.eve.stats_every_us, config.control.listen),
        (None, None, None)
    );
    assert_eq!(config.sensor.name.as_deref(), Some("42"));
    assert_eq!(config.interfaces[0].fanout, Fanout::HashDefragmented);
}

#[test]
fn later_layers_go_before_earlier_ones() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tapline.toml");
    std::fs::write(&file, "[flow]\nidle_timeout = \"30s\"\nactive_timeout = \"20m\"\nvlan_in_key = false\n")
        .unwrap();
    let config = Config::load(&Layers {
        file: Some(file),
        ..layers(
            &[("TAPLINE_FLOW__IDLE_TIMEOUT", "31s"), ("TAPLINE_FLOW__ACTIVE_TIMEOUT", "21m")],
            &["flow.idle_timeout=32s", "flow.idle_timeout = \"33s\""],
        )
    })
    .unwrap();
    assert_eq!((config.flow.idle_timeout_us, config.flow.active_timeout_us), (33_000_000, 1_260_000_000));
    assert!(!config.flow.vlan_in_key);
}

#[test]
fn blocks_of_a_file_replace_the_default_and_begin_with_its_values() {
    let config = read("[[interface]]\nname = \"eth1\"\nreaders = 2\n[[interface]]\nname = \"eth2\"\n");
    assert_eq!(names(&config), ["eth1", "eth2"]);
    assert_eq!((config.interfaces[0].readers, config.interfaces[1].readers), (2, 1));
    assert_eq!(config.interfaces[1].buffer_bytes, 64 << 20);
    let changes = Config::default().changes(&config);
    assert_eq!(changes.restart, ["interface.0.name", "interface.0.readers", "interface.1"]);
    assert!(changes.live.is_empty());
    assert_eq!(config.capture_buffers_bytes(), 3 * (64 << 20));
}

#[test]
fn interfaces_are_numbered_and_the_next_one_is_made() {
    assert_eq!(names(&set(&["interface.0.name=eth1"])), ["eth1"]);
    let config = set(&[
        "sensor.memory=1GiB",
        "interface.1.name=eth1",
        "interface.1.readers=3",
        "interface.2.name=eth2",
    ]);
    assert_eq!(names(&config), ["eth0", "eth1", "eth2"]);
    assert_eq!((config.interfaces[1].readers, config.interfaces[2].readers), (3, 1));

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tapline.toml");
    std::fs::write(&file, "interface = [{ readers = 2 }]\n").unwrap();
    let layers = Layers { file: Some(file), ..layers(&[("TAPLINE_INTERFACE__0__NAME", "eth7")], &[]) };
    assert_eq!(names(&Config::load(&layers).unwrap()), ["eth7"]);
}

#[test]
fn variables_are_taken_by_number_whatever_their_order() {
    let mut variables: Vec<(String, String)> =
        (0..12).map(|at| (format!("TAPLINE_INTERFACE__{at}__NAME"), format!("eth{at}"))).collect();
    variables.push(("TAPLINE_INTERFACE__11__BUFFER".to_owned(), "1MiB".to_owned()));
    variables.push(("TAPLINE_SENSOR__MEMORY".to_owned(), "4GiB".to_owned()));
    variables.reverse();
    let environment = variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
    let config = Config::load(&Layers { environment, ..Layers::default() }).unwrap();
    assert_eq!(names(&config), (0..12).map(|at| format!("eth{at}")).collect::<Vec<_>>());
    assert_eq!(config.interfaces[11].buffer_bytes, 1 << 20);
}

#[test]
fn interfaces_can_be_listed_and_keep_what_was_said_of_them() {
    assert_eq!(names(&set(&["interface=eth1,eth2"])), ["eth1", "eth2"]);
    assert_eq!(names(&set(&["interface=[\"eth1\"]"])), ["eth1"]);
    let config = set(&["interface.0.readers=2", "interface=wlan0, eth0"]);
    assert_eq!(names(&config), ["wlan0", "eth0"]);
    assert_eq!((config.interfaces[0].readers, config.interfaces[1].readers), (1, 2));
    let config = set(&["interface=[{name=\"eth3\", readers=2}]"]);
    assert_eq!((names(&config), config.interfaces[0].readers), (vec!["eth3"], 2));
    assert_eq!(names(&Config::load(&layers(&[("TAPLINE_INTERFACE", "a,b")], &[])).unwrap()), ["a", "b"]);
}

#[test]
fn a_list_of_interfaces_is_blamed_for_what_it_leads_to() {
    let settings = ["interface.0.readers=4", "interface=eth0,eth1,eth2"];
    let error = Config::load(&layers(&[], &settings)).unwrap_err().to_string();
    assert_eq!(
        error,
        "--set interface=eth0,eth1,eth2: interface.0.buffer: the capture buffers of all readers take 384MiB; they can take \
         half of sensor.memory, which is 512MiB"
    );
}

#[test]
fn marks_of_byte_order_and_carriage_returns_are_no_matter() {
    let config = read("\u{feff}[sensor]\r\nworkers = 3\r\n\r\n[[interface]]\r\nname = \"lo\"\r\n");
    assert_eq!((config.sensor.workers, names(&config)), (3, vec!["lo"]));
}

#[test]
fn the_environment_of_others_is_left_alone() {
    let others = [
        ("PATH", "/bin"),
        ("TAPLINE", "x"),
        ("TAPLINE_", "x"),
        ("TAPLINE_TESTBED_PYTHON", "/usr/bin/python3"),
        ("TAPLINE_FLOWERS", "x"),
        ("XTAPLINE_FLOW__DEDUP", "x"),
        ("tapline_flow__dedup", "x"),
    ];
    assert_eq!(Config::load(&layers(&others, &[])).unwrap(), Config::default());
    let mut layers = layers(&[], &[]);
    let not_utf8: OsString = std::os::unix::ffi::OsStringExt::from_vec(vec![b'a', 0xff]);
    layers.environment.push(("HOME".into(), not_utf8.clone()));
    layers.environment.push((not_utf8.clone(), "x".into()));
    assert_eq!(Config::load(&layers).unwrap(), Config::default());
    layers.environment.push(("TAPLINE_SENSOR__NAME".into(), not_utf8));
    assert_eq!(Config::load(&layers).unwrap_err().to_string(), "environment TAPLINE_SENSOR__NAME: not UTF-8");
}

#[test]
fn a_file_that_is_not_there_is_said_so() {
    let missing = Layers { file: Some(PathBuf::from("/nowhere/tapline.toml")), ..Layers::default() };
    let error = Config::load(&missing).unwrap_err();
    assert!(matches!(&error, ConfigError::Read { path, .. } if path.ends_with("tapline.toml")), "{error:?}");
    assert_eq!(error.to_string(), "reading /nowhere/tapline.toml");
    let folder = Layers { file: Some(PathBuf::from("/")), ..Layers::default() };
    assert!(matches!(Config::load(&folder), Err(ConfigError::Read { .. })));
}

#[test]
fn a_file_that_is_no_configuration_is_not_read_to_its_end() {
    let endless = Layers { file: Some(PathBuf::from("/dev/zero")), ..Layers::default() };
    assert!(matches!(Config::load(&endless), Err(ConfigError::TooLong { most_bytes: 1_048_576, .. })));
}
