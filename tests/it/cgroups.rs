//! Limits by control groups of version 2, in a kernel that has them: User Mode Linux, with this machine's files as its root.

use std::process::Command;

use crate::support::{TestBed, skip};

const UML: &str = "/usr/bin/linux.uml";

/// What the other kernel starts first. `DIR` is the test's folder; hostfs shows the files of this machine.
const INIT: &str = r#"#!/bin/sh
PATH=/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t tmpfs tmpfs /mnt
echo "+memory +cpu" > /sys/fs/cgroup/cgroup.subtree_control
mkdir /sys/fs/cgroup/logkeeper.service
python3 -c 'import os; os.setxattr("/sys/fs/cgroup/logkeeper.service", "user.delegate", b"1")'
(echo 0 > /sys/fs/cgroup/logkeeper.service/cgroup.procs; LOGKEEPER_CONFIG=DIR exec PROGRAM daemon) &
export LOGKEEPER_CONFIG=DIR
while [ ! -S /mnt/state/logkeeper.sock ]; do sleep 0.1; done
for job in many quota roomy; do PROGRAM run-now $job --json | tr -d '\n'; echo; done
echo "left: $(ls -d /sys/fs/cgroup/logkeeper.service/run-* 2>/dev/null)"
halt -f -f
"#;

#[test]
fn a_control_group_limits_everything_a_command_starts() {
    if !std::path::Path::new(UML).exists() {
        return skip("a_control_group_limits_everything_a_command_starts", "linux.uml of the package user-mode-linux");
    }
    let bed = TestBed::new();
    bed.file("config/logkeeper.toml", "state = \"/mnt/state\"\n");
    // Three processes of 30 MB each are within the limit one by one, but not together.
    let hog = "python3 -c 'import time; x = bytearray(30 << 20); time.sleep(2)'";
    bed.file("jobs/many.toml", &format!("[command]\nmemory = \"64M\"\nshell = \"{hog} & {hog} & {hog} & wait\"\n"));
    bed.file(
        "jobs/roomy.toml",
        &format!("[command]\nmemory = \"150M\"\nshell = \"{hog} & {hog} & wait; ulimit -v\"\n"),
    );
    // It works until the kernel has held it back, however fast this machine is and whatever else it does.
    bed.file("throttled", "group=/sys/fs/cgroup$(cut -d: -f3 /proc/self/cgroup)\ncat $group/cpu.max\nuntil grep -q 'nr_throttled [1-9]' $group/cpu.stat; do :; done\necho held back\n");
    let script = bed.path("throttled");
    let quota =
        format!("timeout = \"60s\"\n[command]\ncpu_quota = \"20%\"\nrun = [\"/bin/sh\", \"{}\"]\n", script.display());
    bed.file("jobs/quota.toml", &quota);
    bed.file("init", &INIT.replace("PROGRAM", env!("CARGO_BIN_EXE_logkeeper")));
    let init = bed.path("init");
    std::fs::set_permissions(&init, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let mut kernel = Command::new("timeout");
    kernel.args(["-k", "5", "120", UML, "rootfstype=hostfs", "rootflags=/", "ro", "mem=512M", "quiet", "con=null"]);
    kernel.arg("con0=null,fd:1").arg(format!("init={}", init.display()));
    // Its memory is a file there, which must be executable.
    kernel.env("TMPDIR", bed.path(""));
    let ran = kernel.stdin(std::process::Stdio::null()).output().unwrap();
    let console = String::from_utf8_lossy(&ran.stdout).into_owned();
    let runs: Vec<serde_json::Value> = console.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let [many, quota, roomy] = &runs[..] else { panic!("{console}\n{}", String::from_utf8_lossy(&ran.stderr)) };
    assert_eq!(many["outcome"], "failed", "{many}");
    let notes = many["notes"].to_string();
    assert!(notes.contains("more than the 64 MiB of memory it may have"), "{many}");
    assert_eq!(quota["outcome"], "succeeded", "{quota}");
    assert_eq!(crate::support::printed(quota), "20000 100000\nheld back\n", "a fifth of each period: {quota}");
    assert_eq!(roomy["outcome"], "succeeded", "{roomy}");
    assert!(crate::support::printed(roomy).contains("unlimited"), "address space is no measure there: {roomy}");
    let peak = roomy["peak_bytes"].as_i64().unwrap();
    assert!(peak > 60 << 20, "both together: {roomy}");
    assert!(console.contains("left: \n") || console.contains("left: \r\n"), "{console}");
}
