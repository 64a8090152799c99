//! What is left of sandboxes on the machine: processes, mounts and loop devices, whichever engine made them.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::machine::Machine;

/// Numbers of all processes.
fn processes() -> Vec<String> {
    let names = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().into_string().ok());
    names.filter(|name| name.bytes().all(|byte| byte.is_ascii_digit())).collect()
}

/// What the kernel says of a process; nothing of one that has ended.
fn about(process: &str, file: &str) -> String {
    fs::read_to_string(format!("/proc/{process}/{file}")).unwrap_or_default()
}

/// Docker may give back neither processes nor mounts of containers that it has removed.
pub(crate) fn nothing_of_containers(containers: &[String], what: &str) {
    let mounts = about("self", "mountinfo");
    for id in containers {
        let of_it = |process: &String| about(process, "cgroup").contains(id.as_str());
        let left: Vec<String> = processes().into_iter().filter(of_it).collect();
        assert!(left.is_empty(), "{what}: processes {left:?} of {id} are left");
        assert!(!mounts.contains(id.as_str()), "{what}: mounts of {id} are left");
    }
}

/// Of all sandboxes of a service only this one may be left. Others are known by their
/// mounts: each has its package, its folder of sockets and its volume, and the folders of the service are nobody else's.
pub(crate) fn only_of(machine: &Machine, sandbox: &str, what: &str) {
    let folders = [machine.data(), machine.run_dir().to_owned()];
    // The paths that the kernel shows are those inside their file system, which may begin below `/tmp`.
    let marks = folders.each_ref().map(|folder| folder.strip_prefix("/tmp").unwrap_or(folder).to_str().unwrap());
    let user = |process: &str| fs::metadata(format!("/proc/{process}")).map_or(0, |found| found.uid());
    let mut of_sandbox = 0;
    for process in processes() {
        let mounts = about(&process, "mountinfo");
        // Users of plugins; nobody else has such numbers.
        let is_a_plugins = user(&process) >= 200_000 && marks.iter().any(|mark| mounts.contains(mark));
        if !is_a_plugins {
            continue;
        }
        let group = about(&process, "cgroup");
        // It may have ended after it was looked at.
        assert!(
            group.is_empty() || group.contains(sandbox),
            "{what}: process {process} is left: {} {group}\n{mounts}",
            about(&process, "comm")
        );
        of_sandbox += usize::from(!group.is_empty());
    }
    assert!(of_sandbox >= 2, "{what}: those that may be there are found: {of_sandbox}");
    let is_root = usize::from(rustix::process::geteuid().is_root());
    let volumes = format!("volumes-{}", machine.instance());
    let mounts = about("self", "mountinfo").lines().filter(|line| line.contains(&volumes)).count();
    assert_eq!(mounts, is_root, "{what}: mounts of volumes are left");
    assert_eq!(loop_devices(&machine.data()), is_root, "{what}: loop devices are left");
}

/// Loop devices for files below a folder, in whatever namespace they are mounted.
fn loop_devices(folder: &Path) -> usize {
    let devices = fs::read_dir("/sys/block").unwrap().flatten();
    let files = devices.filter_map(|device| fs::read_to_string(device.path().join("loop/backing_file")).ok());
    files.filter(|file| Path::new(file.trim()).starts_with(folder)).count()
}
