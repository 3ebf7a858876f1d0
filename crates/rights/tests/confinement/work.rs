//! What must go on working, with everything dropped that can be.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, ErrorKind, Read, Seek, SeekFrom, Write};
use std::net::{TcpListener, TcpStream, ToSocketAddrs, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener, UnixStream};
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use tapline_rights::{Grant, Notifier, Paths, Plan, TcpConnect, drop_all};

use crate::child::{self, Case};

pub(crate) const CASES: &[Case] = &[
    ("files", files),
    ("replaced", replaced),
    ("sockets", sockets),
    ("threads", threads),
    ("manager", manager),
    ("own_proc", own_proc),
    ("own_proc_later", own_proc_later),
];

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        child::test("files_of_the_sensor_can_be_written_and_kept", || drop(child::run_case("files"))),
        child::test("a_file_that_was_replaced_can_be_read_by_its_folder", file_is_replaced),
        child::test("sockets_and_tokio_work", || drop(child::run_case("sockets"))),
        child::test("threads_signals_and_memory_work", || drop(child::run_case("threads"))),
        child::test("the_service_manager_is_still_told", manager_is_told),
        child::test("the_process_can_still_read_about_itself", || drop(child::run_case("own_proc"))),
        child::test("it_can_so_after_memory_was_short", || drop(child::run_case("own_proc_later")))
            // Makes the whole host forget what it has cached of files.
            .with_ignored_flag(true),
    ]
}

/// Everything that can be dropped, with this folder left and these ports.
fn drop_to(folder: &Path, ports: Vec<u16>) {
    let paths =
        Paths { read: Vec::new(), write: vec![folder.to_owned()], tcp_connect: TcpConnect::Ports(ports) };
    let report = drop_all(&Plan { keep_net_raw: true, landlock: Some(paths), seccomp: true }).unwrap();
    println!("{report}");
}

fn files() {
    let folder = child::folder();
    drop_to(&folder, Vec::new());
    // As sinks do it: write, sync, cut back, rename, list, remove.
    let partial = folder.join("rows.partial");
    let mut file = OpenOptions::new().create(true).append(true).read(true).open(&partial).unwrap();
    file.lock().unwrap();
    file.write_all(b"one\ntwo\nthr").unwrap();
    file.set_len(8).unwrap();
    file.sync_all().unwrap();
    file.sync_data().unwrap();
    file.seek(SeekFrom::Start(0)).unwrap();
    let mut text = String::new();
    file.read_to_string(&mut text).unwrap();
    assert_eq!(text, "one\ntwo\n");
    file.set_permissions(fs::Permissions::from_mode(0o640)).unwrap();
    rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
    file.unlock().unwrap();
    fs::rename(&partial, folder.join("rows.ndjson")).unwrap();
    fs::copy(folder.join("rows.ndjson"), folder.join("copy")).unwrap();
    fs::hard_link(folder.join("copy"), folder.join("link")).unwrap();
    fs::create_dir_all(folder.join("a/b")).unwrap();
    fs::rename(folder.join("link"), folder.join("a/b/moved")).unwrap();
    let names: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 3, "{names:?}");
    assert_eq!(fs::metadata(folder.join("copy")).unwrap().len(), 8);
    fs::remove_dir_all(folder.join("a")).unwrap();
    fs::remove_file(folder.join("copy")).unwrap();
    // The folder itself is synced after a rename, and its disk is asked for room.
    File::open(&folder).unwrap().sync_all().unwrap();
    assert!(rustix::fs::statvfs(&folder).unwrap().f_blocks > 0);
    fs::canonicalize(folder.join("rows.ndjson")).unwrap();

    // Watching a folder for a changed configuration.
    let watch = rustix::fs::inotify::init(rustix::fs::inotify::CreateFlags::CLOEXEC).unwrap();
    rustix::fs::inotify::add_watch(&watch, &folder, rustix::fs::inotify::WatchFlags::CREATE).unwrap();
    File::create(folder.join("new")).unwrap();
    assert!(rustix::io::read(&watch, &mut [0; 512][..]).unwrap() > 0);
}

/// As an editor saves: another file is renamed over the one that is there.
fn file_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    for part in ["own", "shared"] {
        fs::create_dir(folder.path().join(part)).unwrap();
        fs::write(folder.path().join(part).join("tapline.toml"), "old").unwrap();
    }
    let mut command = child::command("replaced", folder.path());
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "dropped\n");
    for part in ["own", "shared"] {
        fs::write(folder.path().join("new"), "new").unwrap();
        fs::rename(folder.path().join("new"), folder.path().join(part).join("tapline.toml")).unwrap();
    }
    // Told so.
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
}

fn replaced() {
    let [own, shared] = ["own", "shared"].map(|part| child::folder().join(part).join("tapline.toml"));
    let mut paths = Paths { read: vec![shared.clone()], ..Paths::default() };
    assert_eq!(paths.reread(&own), Grant::Folder);
    let report = drop_all(&Plan { keep_net_raw: true, landlock: Some(paths), seccomp: true }).unwrap();
    assert_eq!([&own, &shared].map(|file| fs::read_to_string(file).unwrap()), ["old", "old"]);
    println!("dropped");
    std::io::stdin().read_line(&mut String::new()).unwrap();
    assert_eq!(fs::read_to_string(&own).unwrap(), "new");
    if report.landlock.is_in_force() {
        let refused = fs::read_to_string(&shared).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::PermissionDenied, "a rule holds for a file, not for its name");
    }
}

fn sockets() {
    let folder = child::folder();
    // Ports are bound before, as the sensor does it.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap();
    drop_to(&folder, vec![port.port()]);

    // Names: what is in /etc/hosts, and what no server is asked for.
    assert!(("localhost", 80).to_socket_addrs().unwrap().next().is_some());
    assert!(
        fs::read_to_string("/sys/class/net/lo/statistics/rx_packets").unwrap().trim().parse::<u64>().is_ok()
    );
    assert!(rustix::net::netdevice::name_to_index(UdpSocket::bind("127.0.0.1:0").unwrap(), "lo").is_ok());
    rustix::net::socket(
        rustix::net::AddressFamily::NETLINK,
        rustix::net::SocketType::RAW,
        // NETLINK_ROUTE.
        None,
    )
    .unwrap();

    let datagrams = UdpSocket::bind("127.0.0.1:0").unwrap();
    datagrams.send_to(b"syslog", datagrams.local_addr().unwrap()).unwrap();
    assert_eq!(datagrams.recv(&mut [0; 16]).unwrap(), 6);

    let path = folder.join("control.sock");
    let control = UnixListener::bind(&path).unwrap();
    let client = thread::spawn({
        let path = path.clone();
        move || UnixStream::connect(path).unwrap().write_all(b"hello").unwrap()
    });
    let mut said = String::new();
    control.accept().unwrap().0.read_to_string(&mut said).unwrap();
    assert_eq!(said, "hello");
    client.join().unwrap();
    fs::remove_file(&path).unwrap();
    let log = UnixDatagram::bind(folder.join("log")).unwrap();
    UnixDatagram::unbound().unwrap().send_to(b"log", folder.join("log")).unwrap();
    assert_eq!(log.recv(&mut [0; 16]).unwrap(), 3);

    listener.set_nonblocking(true).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let answer = runtime.block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        let server = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::time::sleep(Duration::from_millis(5)).await;
            stream.writable().await.unwrap();
            stream.try_write(b"metrics").unwrap()
        });
        let client = tokio::task::spawn_blocking(move || {
            let mut text = String::new();
            TcpStream::connect(port).unwrap().read_to_string(&mut text).unwrap();
            text
        });
        server.await.unwrap();
        client.await.unwrap()
    });
    assert_eq!(answer, "metrics");
}

fn threads() {
    drop_to(&child::folder(), Vec::new());
    let started = Instant::now();
    let work = |number: usize| {
        let memory = vec![1_u8; 64 << 20];
        thread::sleep(Duration::from_millis(1));
        // Many small ones too: they come from the heap of the thread.
        let small: Vec<_> = (0..10_000).map(|n| vec![n as u8; 100]).collect();
        usize::from(memory[number << 20]) + usize::from(small[number][99])
    };
    let sum = thread::scope(|scope| {
        let workers = [0, 1, 2, 3].map(|number| {
            let name = format!("worker {number}");
            thread::Builder::new().name(name).spawn_scoped(scope, move || work(number)).unwrap()
        });
        workers.into_iter().map(|worker| worker.join().unwrap()).sum::<usize>()
    });
    assert_eq!(sum, 4 + 1 + 2 + 3);
    assert!(started.elapsed() > Duration::ZERO);
    thread::available_parallelism().unwrap();

    let (sender, receiver) = std::sync::mpsc::sync_channel(16);
    let other = thread::spawn(move || (0..1_000_u64).for_each(|n| sender.send(n).unwrap()));
    assert_eq!((0..1_000).map(|_| receiver.recv().unwrap()).sum::<u64>(), 499_500);
    other.join().unwrap();

    let hangup = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(libc::SIGHUP, Arc::clone(&hangup)).unwrap();
    signal_hook::low_level::raise(libc::SIGHUP).unwrap();
    assert!(hangup.load(Ordering::SeqCst));
    // A panic of one thread is a message and not the end, as far as seccomp goes.
    assert!(thread::spawn(|| std::panic::catch_unwind(|| panic!("on purpose")).is_err()).join().unwrap());
}

/// Outside of the sandbox as systemd is: this process. In it: the child.
fn told(address: &str, socket: &UnixDatagram) {
    let folder = tempfile::tempdir().unwrap();
    let mut command = child::command("manager", folder.path());
    command.env("NOTIFY_SOCKET", address).env("WATCHDOG_USEC", "10000000");
    child::run(command);
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    for expected in ["READY=1", "WATCHDOG=1"] {
        let mut text = [0; 64];
        let length = socket.recv(&mut text).unwrap();
        assert_eq!(str::from_utf8(&text[..length]).unwrap(), expected);
    }
}

fn manager_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    told(path.to_str().unwrap(), &UnixDatagram::bind(&path).unwrap());
    let name = format!("tapline-rights-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    told(&format!("@{name}"), &UnixDatagram::bind_addr(&address).unwrap());
}

fn manager() {
    let notifier = Notifier::from_env().unwrap();
    assert_eq!(notifier.watchdog_period(), Some(Duration::from_secs(5)));
    drop_to(&child::folder(), Vec::new());
    notifier.ready().unwrap();
    notifier.ping().unwrap();
}

fn own_proc() {
    drop_to(&child::folder(), Vec::new());
    read_about_itself();
}

fn own_proc_later() {
    let mut forget = File::create("/proc/sys/vm/drop_caches").unwrap();
    drop_to(&child::folder(), Vec::new());
    read_about_itself();
    for _ in 0..3 {
        // Names and inodes.
        forget.write_all(b"2").unwrap();
        thread::sleep(Duration::from_millis(100));
    }
    read_about_itself();
}

fn read_about_itself() {
    let resident = || {
        let status = fs::read_to_string("/proc/self/status").unwrap();
        status.lines().any(|line| line.starts_with("VmRSS:"))
    };
    assert!(resident());
    assert!(thread::spawn(resident).join().unwrap());
    fs::read_to_string("/proc/thread-self/stat").unwrap();
    assert!(fs::read_dir("/proc/self/fd").unwrap().count() > 2);
    fs::read_to_string("/sys/class/net/lo/statistics/rx_packets").unwrap();
    assert!(("localhost", 80).to_socket_addrs().unwrap().next().is_some());
}
