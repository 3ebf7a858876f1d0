//! What is said of what is wrong: what, where, and what to do.

use std::path::Path;

use tapline_config::{Config, ConfigError, Flaw, Layers, Place, Problem};

fn said(loaded: Result<Config, ConfigError>) -> String {
    loaded.map_or_else(|error| error.to_string(), |_| "accepted".to_owned())
}

fn of_file(text: &str) -> String {
    said(Config::from_toml(text, Path::new("tapline.toml")))
}

fn of_setting(setting: &str) -> String {
    said(Config::load(&Layers { settings: vec![setting.to_owned()], ..Layers::default() }))
}

fn of_variable(name: &str, value: &str) -> String {
    said(Config::load(&Layers { environment: vec![(name.into(), value.into())], ..Layers::default() }))
}

/// Files with the first line of what is said of them, behind the file's name.
fn check(cases: &[(&str, &str)]) {
    for (text, expected) in cases {
        let said = of_file(text);
        assert_eq!(said.lines().next().unwrap(), format!("tapline.toml:{expected}"), "{text}\n{said}");
    }
}

#[test]
fn the_line_is_shown_and_the_place_is_marked() {
    assert_eq!(
        of_file("[sensor]\nmemroy = \"1GiB\"\n"),
        "tapline.toml:2:1: sensor.memroy: unknown key; did you mean sensor.memory?
   |
 2 | memroy = \"1GiB\"
   | ^^^^^^"
    );
    assert_eq!(
        of_file("[flow]\r\n\t partial = [\"1s\", \"zehn Söcke\", \"1m\"] # ä\r\n"),
        "tapline.toml:2:20: flow.partial: \"zehn Söcke\" is not a time such as \"10s\" (a whole number and us, ms, s, m, h or d)
   |
 2 |   partial = [\"1s\", \"zehn Söcke\", \"1m\"] # ä
   |                    ^^^^^^^^^^^^"
    );
}

#[test]
fn all_that_is_wrong_is_said_at_once_in_the_order_of_the_layers() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("t.toml");
    std::fs::write(&file, "[sensor]\nworkers = 0\n[flow]\ndedup = 5\n[alerts]\nfiles = true\n").unwrap();
    let error = Config::load(&Layers {
        file: Some(file.clone()),
        environment: vec![
            ("TAPLINE_LOG__LEVEL".into(), "loud".into()),
            ("TAPLINE_EVE__FLOWS".into(), "no".into()),
        ],
        settings: vec!["rows.keep_files=many".to_owned(), "emergency.enter_percent=70".to_owned()],
    })
    .unwrap_err();
    let firsts: Vec<String> =
        error.to_string().lines().filter(|line| !line.contains('|')).map(str::to_owned).collect();
    let file = file.display();
    assert_eq!(
        firsts,
        [
            "7 problems in the configuration".to_owned(),
            format!("{file}:2:11: sensor.workers: 0 is out of range; it can be 1 to 64"),
            format!(
                "{file}:4:9: flow.dedup: expected a time such as \"10s\" (a whole number and us, ms, s, m, h or d), \
                 found a whole number"
            ),
            format!("{file}:6:1: alerts.files: unknown key; did you mean alerts.file?"),
            "environment TAPLINE_EVE__FLOWS: eve.flows: expected true or false, found text".to_owned(),
            "environment TAPLINE_LOG__LEVEL: log.level: \"loud\" is not one of \"error\", \"warn\", \"info\", \"debug\""
                .to_owned(),
            "--set rows.keep_files=many: rows.keep_files: expected a whole number, found text".to_owned(),
            "--set emergency.enter_percent=70: emergency.enter_percent: emergency.leave_percent (70) must be below \
             emergency.enter_percent (70)"
                .to_owned(),
        ]
    );
    let ConfigError::Invalid { problems, more: 0 } = error else { panic!() };
    assert!(matches!(
        &problems[0],
        Problem { place: Place::File { line: 2, column: 11, width: 1, .. }, key, flaw: Flaw::Range { .. } }
            if key == "sensor.workers"
    ));
}

#[test]
fn problems_are_bounded() {
    let text: String = (0..30).map(|at| format!("nothing{at} = 1\n")).collect();
    let said = of_file(&text);
    assert!(said.starts_with("30 problems in the configuration\n"), "{said}");
    assert!(said.ends_with("\nand 10 more"), "{said}");
    assert_eq!(said.matches("unknown key").count(), 20);
}

#[test]
fn syntax_has_a_place() {
    check(&[
        ("[sensor\nmemory = 5", "1:8: unclosed table, expected `]`"),
        ("sensor]\n", "1:7: key with no value, expected `=`"),
        ("[flow]\ndedup = \"1ms\"\ndedup = \"2ms\"\n", "3:1: duplicate key"),
        ("[sensor]\nname = \"abc\n[flow]\ndedup = \"1s\"\n", "2:12: invalid basic string, expected `\"`"),
    ]);
    let said = of_file("[sensor]\nname = \"abc\n[flow]\ndedup = 1ms\n[flow]\n");
    assert!(said.starts_with("3 problems"), "{said}");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("t.toml");
    std::fs::write(&file, b"[sensor]\nname = \"caf\xe9\"\n").unwrap();
    assert_eq!(
        said_of(&file),
        format!("{}:2:12: not UTF-8\n   |\n 2 | name = \"caf\u{fffd}\"\n   |            ^", file.display())
    );
}

fn said_of(file: &Path) -> String {
    said(Config::load(&Layers { file: Some(file.to_owned()), ..Layers::default() }))
}

#[test]
fn unknown_keys_have_a_neighbour_if_one_is_near() {
    check(&[
        ("[sensr]", "1:2: sensr: unknown key; did you mean [sensor]?"),
        ("[interfaces]", "1:2: interfaces: unknown key; did you mean [[interface]]?"),
        ("memory = \"1GiB\"", "1:1: memory: unknown key; did you mean sensor.memory?"),
        (
            "[sensor]\nactive-timeout = 1",
            "2:1: sensor.active-timeout: unknown key; did you mean flow.active_timeout?",
        ),
        ("[flow]\nidle = 1", "2:1: flow.idle: unknown key; did you mean flow.idle_timeout?"),
        (
            "[emergency]\nidle_timeuot = 1",
            "2:1: emergency.idle_timeuot: unknown key; did you mean emergency.idle_timeout?",
        ),
        ("[flow]\nzzzzzz = 1", "2:1: flow.zzzzzz: unknown key"),
        (
            "[[interface]]\nname = \"a\"\npromisc = true",
            "3:1: interface.0.promisc: unknown key; did you mean interface.0.promiscuous?",
        ),
    ]);
}

#[test]
fn types_and_values_are_told_with_what_they_should_be() {
    check(&[
        ("flow = 5", "1:8: flow: must be written as [flow], with its keys below"),
        ("[[flow]]", "1:1: flow: must be written as [flow], with its keys below"),
        (
            "[interface]\nname = \"eth0\"",
            "1:1: interface: must be written as [[interface]], with its keys below",
        ),
        (
            "interface = [\"eth0\"]",
            "1:14: interface.0: must be written as [[interface]], with its keys below",
        ),
        (
            "[sensor]\nworkers = 2.0",
            "2:11: sensor.workers: expected a whole number, found a number with a point",
        ),
        (
            "[sensor]\nname = 2026-11-23",
            "2:8: sensor.name: expected a name without control characters, found a date",
        ),
        (
            "[sensor]\nmemory = \"512MB\"",
            "2:10: sensor.memory: \"512MB\" is not a size such as \"512MiB\" (a whole number and B, KiB, MiB, GiB or TiB)",
        ),
        (
            "[flow]\npartial = [\"1s\", 5]",
            "2:18: flow.partial: expected text in quotes, found a whole number",
        ),
        (
            "[flow]\nno_decapsulate = [\"vlxan\"]",
            "2:19: flow.no_decapsulate: \"vlxan\" is not one of \"ipip\", \"gre\", \"erspan\", \"vxlan\", \"geneve\", \"gtpu\", \"teredo\"; did you mean \"vxlan\"?",
        ),
        (
            "[flow]\nno_decapsulate = [\"gre\", \"gre\"]",
            "2:26: flow.no_decapsulate: \"gre\" stands there twice",
        ),
        (
            "[log]\nlevel = \"warning\"",
            "2:9: log.level: \"warning\" is not one of \"error\", \"warn\", \"info\", \"debug\"; did you mean \"warn\"?",
        ),
        ("[rows]\nfolder = \"\"", "2:10: rows.folder: \"\" is not a path"),
        (
            "[alerts]\nsyslog = \"udp://log\"",
            "2:10: alerts.syslog: \"udp://log\" is not \"unix:/dev/log\", \"udp://host:514\" or \"tcp://host:601\"",
        ),
        (
            "[alerts]\nwebhook = \"example.org\"",
            "2:11: alerts.webhook: \"example.org\" is not an address such as \"http://host:8080/path\"",
        ),
        (
            "[control]\nlisten = \"localhost:80\"",
            "2:10: control.listen: \"localhost:80\" is not an IP address and a port, such as \"127.0.0.1:9477\" or \"[::1]:9477\"",
        ),
        (
            "[[interface]]\nname = \"any\"",
            "2:8: interface.0.name: \"any\" is not the name of one interface, such as \"eth0\"",
        ),
        (
            "[[interface]]\nname = \"averyveryverylongname\"",
            "2:8: interface.0.name: is 21 bytes long; at most 15 can be",
        ),
    ]);
}

#[test]
fn ranges_hold_at_both_ends() {
    for (key, least, most, below, above) in [
        ("sensor.workers", "1", "64", "0", "65"),
        ("sensor.memory", "128MiB", "16TiB", "127MiB", "17TiB"),
        ("interface.0.readers", "1", "2", "-1", "17"),
        ("interface.0.buffer", "1MiB", "256MiB", "1023KiB", "1025MiB"),
        ("interface.0.snap_length", "96B", "256KiB", "95B", "262145B"),
        ("flow.idle_timeout", "1ms", "1h", "999us", "61m"),
        ("flow.active_timeout", "60001ms", "1h", "0s", "3600000001us"),
        ("flow.partial", "1ms", "29m", "0s", "61m"),
        ("flow.dedup", "0s", "1s", "99999999999999999999s", "1001ms"),
        ("emergency.enter_percent", "71", "100", "0", "101"),
        ("emergency.leave_percent", "1", "89", "0", "101"),
        ("scoring.shed_percent", "1", "100", "0", "256"),
        ("rows.rotate_size", "4KiB", "8GiB", "4095B", "2TiB"),
        ("rows.rotate_age", "0s", "366d", "1us", "367d"),
        ("rows.keep_files", "1", "1000000", "0", "4294967297"),
        ("rows.keep_size", "256MiB", "1024TiB", "0B", "1025TiB"),
        ("eve.stats_every", "0s", "1d", "1ms", "25h"),
    ] {
        for value in [least, most] {
            assert_eq!(of_setting(&format!("{key}={value}")), "accepted", "{key}={value}");
        }
        for value in [below, above] {
            let said = of_setting(&format!("{key}={value}"));
            let is_refused = said.contains(&format!("{value} is out of range; it can be "))
                || said.contains("is not a time");
            assert!(is_refused, "{key}={value}: {said}");
        }
    }
}

#[test]
fn keys_must_fit_each_other_and_the_one_that_was_set_is_blamed() {
    check(&[
        (
            "[flow]\nactive_timeout = \"30s\"",
            "2:18: flow.active_timeout: no flow is ever 1m old for an early record: flow.active_timeout cuts it at 30s",
        ),
        (
            "[flow]\npartial = [\"30m\"]",
            "2:11: flow.partial: no flow is ever 30m old for an early record: flow.active_timeout cuts it at 30m",
        ),
        (
            "[flow]\npartial = [\"1s\", \"10s\", \"10s\"]",
            "2:25: flow.partial: times must rise, and \"10s\" is not above the one before",
        ),
        (
            "[flow]\npartial = [\"1s\",\"2s\",\"3s\",\"4s\",\"5s\",\"6s\",\"7s\",\"8s\",\"9s\"]",
            "2:52: flow.partial: at most 8 times can be given",
        ),
        (
            "[emergency]\nenter_percent = 60",
            "2:17: emergency.enter_percent: emergency.leave_percent (70) must be below emergency.enter_percent (60)",
        ),
        (
            "[emergency]\nleave_percent = 90",
            "2:17: emergency.leave_percent: emergency.leave_percent (90) must be below emergency.enter_percent (90)",
        ),
        (
            "[rows]\nkeep_size = \"1MiB\"",
            "2:13: rows.keep_size: rows.keep_size (1MiB) must hold one file of rows.rotate_size (256MiB)",
        ),
        (
            "[sensor]\nmemory = \"128MiB\"\n[[interface]]\nname = \"a\"\nbuffer = \"65MiB\"",
            "2:10: sensor.memory: the capture buffers of all readers take 65MiB; they can take half of sensor.memory, which is 128MiB",
        ),
        (
            "[[interface]]\nname = \"a\"\nreaders = 16",
            "3:11: interface.0.readers: the capture buffers of all readers take 1GiB; they can take half of sensor.memory, which is 512MiB",
        ),
        (
            "[[interface]]\nname = \"a\"\n[[interface]]\nname=\"a\"",
            "4:6: interface.1.name: \"a\" is named twice",
        ),
        ("[[interface]]\nreaders = 2", "1:1: interface.0.name: is missing: each interface needs its name"),
        ("interface = []", "1:13: interface: no interface is left to capture from"),
    ]);
    let blocks: String =
        (0..17).map(|at| format!("[[interface]]\nname = \"eth{at}\"\nbuffer = \"1MiB\"\n")).collect();
    check(&[(&blocks, "49:1: interface: there are 17 of them; at most 16 can be captured")]);
}

#[test]
fn what_is_known_to_be_wrong_is_not_said_to_fit_badly_too() {
    check(&[
        (
            "[emergency]\nenter_percent = 0\nleave_percent = 95",
            "2:17: emergency.enter_percent: 0 is out of range; it can be 1 to 100",
        ),
        (
            "[[interface]]\nname = 5",
            "2:8: interface.0.name: expected the name of one interface, such as \"eth0\", found a whole number",
        ),
        ("interface = [5]", "1:14: interface.0: must be written as [[interface]], with its keys below"),
    ]);
}

#[test]
fn settings_and_variables_are_named() {
    for (setting, expected) in [
        ("sensor.memroy=5", "sensor.memroy: unknown key; did you mean sensor.memory?"),
        ("sensr.memory=1GiB", "sensr.memory: unknown key; did you mean sensor.memory?"),
        ("flow", "write key=value, such as flow.idle_timeout=60s"),
        ("flow=5", "flow: is a section: name one of its keys, such as flow.idle_timeout"),
        ("=5", "unknown key"),
        ("a.b.c=1", "a.b.c: unknown key"),
        ("interface.0=eth1", "interface.0: interfaces are counted from 0, as in interface.0.name"),
        ("interface.name=eth1", "interface.name: interfaces are counted from 0, as in interface.0.name"),
        (
            "interface.2.name=eth1",
            "interface.2: interfaces are counted from 0, and the next one is interface.1",
        ),
        ("interface.16.name=eth1", "interface.16: at most 16 interfaces can be captured, counted from 0"),
        (
            "interface.99999999999999999999.name=a",
            "interface.99999999999999999999: at most 16 interfaces can be captured, counted from 0",
        ),
        ("interface.0.nmae=eth1", "interface.0.nmae: unknown key; did you mean interface.0.name?"),
        ("interface.1.readers=2", "interface.1.name: is missing: each interface needs its name"),
        ("interface=", "interface: no interface is left to capture from"),
        ("interface=eth0,eth0", "interface.1.name: \"eth0\" is named twice"),
        ("eve.enabled=1", "eve.enabled: expected true or false, found a whole number"),
        (
            "flow.active_timeout=30s",
            "flow.active_timeout: no flow is ever 1m old for an early record: flow.active_timeout cuts it at 30s",
        ),
    ] {
        assert_eq!(of_setting(setting), format!("--set {setting}: {expected}"));
    }
    for (name, value, expected) in [
        ("TAPLINE_ROWS_FOLDER", "/", "rows_folder: unknown key; did you mean TAPLINE_ROWS__FOLDER?"),
        (
            "TAPLINE_INTERFACE_0_NAME",
            "a",
            "interface_0_name: unknown key; did you mean TAPLINE_INTERFACE__0__NAME?",
        ),
        ("TAPLINE_LOG", "debug", "log: is a section: name one of its keys, such as TAPLINE_LOG__LEVEL"),
        (
            "TAPLINE_SENSOR__MEMROY",
            "1GiB",
            "sensor.memroy: unknown key; did you mean TAPLINE_SENSOR__MEMORY?",
        ),
        ("TAPLINE_SENSOR__WORKERS", "", "sensor.workers: expected a whole number, found text"),
        ("TAPLINE_X__Y", "1", "x.y: unknown key"),
    ] {
        assert_eq!(of_variable(name, value), format!("environment {name}: {expected}"));
    }
}

#[test]
fn terminals_get_no_orders_and_long_lines_are_cut_around_the_mark() {
    let said = of_setting("sensor.na\u{1b}[31mme=\u{7}");
    assert!(!said.contains(|letter: char| letter.is_control()), "{said:?}");
    let long = format!("flow = {{ {}dedup = 5, partial = [] }}", " ".repeat(1_000));
    let said = of_file(&long);
    let [_, _, shown, mark] = said.lines().collect::<Vec<_>>()[..] else { panic!("{said}") };
    assert!(shown.len() < 130 && shown.ends_with("dedup = 5, partial = [] }"), "{said}");
    assert_eq!(shown.find('5'), mark.find('^'), "{said}");
}
