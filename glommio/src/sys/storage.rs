//! Which file system and which block device a file lives on.

use std::{
    ffi::OsString,
    fs, io,
    os::unix::{ffi::OsStringExt, fs::MetadataExt},
    path::{Path, PathBuf},
};

use nix::sys::{
    stat::{major, minor},
    statfs::statfs,
};

use super::sysfs::KernelFiles;

/// The storage below a path.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Storage {
    /// The type of the file system, such as `ext4`; empty if nothing tells.
    pub file_system: String,
    /// Where the file system is mounted, if the mount table is readable.
    pub mount_point: Option<PathBuf>,
    /// The block device behind it; tmpfs, overlay and network file systems have
    /// none.
    pub device: Option<BlockDevice>,
}

/// A block device, as `/sys/block` describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BlockDevice {
    /// Major and minor number.
    pub number: (u32, u32),
    /// The name of the device or partition, such as `nvme0n1p2`.
    pub name: String,
    /// The name of the whole disk; the same unless this is a partition.
    pub disk: String,
    /// The unit that direct I/O must be a multiple of, in bytes.
    pub logical_block_size: usize,
    /// The unit that the device works in without read-modify-write, in bytes.
    pub physical_block_size: usize,
    /// Whether completions can be polled for (`IORING_SETUP_IOPOLL`).
    pub io_poll: bool,
    /// How many poll queues the driver was told to set up, where it says so.
    pub poll_queues: Option<u32>,
    /// Whether the device is a spinning disk, if known.
    pub rotational: Option<bool>,
    /// The largest transfer in one piece, in bytes, if known.
    pub max_transfer: Option<usize>,
}

impl Storage {
    /// The storage below a path of this host.
    ///
    /// # Errors
    ///
    /// When the path cannot be looked up.
    pub(crate) fn of(path: &Path) -> io::Result<Self> {
        let path = fs::canonicalize(path)?;
        let dev = fs::metadata(&path)?.dev();
        let mut storage = Storage::read(
            &KernelFiles::host(),
            &path,
            (major(dev) as u32, minor(dev) as u32),
        );
        if storage.file_system.is_empty() {
            storage.file_system = name_by_magic(&path).unwrap_or_default().to_owned();
        }
        Ok(storage)
    }

    /// `path` is absolute and free of links; `number` is its device's.
    fn read(files: &KernelFiles, path: &Path, number: (u32, u32)) -> Self {
        let mount = files
            .text("proc/self/mountinfo")
            .and_then(|table| mount_of(&table, path));
        // The number is that of a block device, or one that the file system
        // made up (btrfs does): then the mount's source may name the device.
        let device = BlockDevice::by_number(files, number.0, number.1).or_else(|| {
            let source = &mount.as_ref()?.source;
            BlockDevice::by_path(files, source)
        });
        match mount {
            Some(mount) => Storage {
                file_system: mount.file_system,
                mount_point: Some(mount.point),
                device,
            },
            None => Storage {
                file_system: String::new(),
                mount_point: None,
                device,
            },
        }
    }
}

impl BlockDevice {
    /// The block device of this host with these numbers, as in `st_dev`.
    pub(crate) fn of_number(major: u32, minor: u32) -> Option<Self> {
        BlockDevice::by_number(&KernelFiles::host(), major, minor)
    }

    fn by_number(files: &KernelFiles, major: u32, minor: u32) -> Option<Self> {
        // Major number zero is of file systems without a device.
        if major == 0 {
            return None;
        }
        let dir = files.path(format!("sys/dev/block/{major}:{minor}"));
        BlockDevice::read(files, &dir, (major, minor))
    }

    /// From a device file such as `/dev/sda1` or `/dev/mapper/root`.
    fn by_path(files: &KernelFiles, source: &Path) -> Option<Self> {
        let name = source.strip_prefix("/dev").ok()?;
        // The names of the device mapper are links to the device.
        let device = fs::canonicalize(files.path(Path::new("dev").join(name))).ok()?;
        let dir = format!("sys/class/block/{}", device.file_name()?.to_str()?);
        let number = files.text(format!("{dir}/dev"))?;
        let (major, minor) = number.split_once(':')?;
        let number = (major.parse().ok()?, minor.parse().ok()?);
        BlockDevice::read(files, &files.path(dir), number)
    }

    /// `dir` is the device's directory, as a real path.
    fn read(files: &KernelFiles, dir: &Path, number: (u32, u32)) -> Option<Self> {
        let dir = fs::canonicalize(dir).ok()?;
        let name = dir.file_name()?.to_str()?.to_owned();
        // The directory of a partition lies in that of its disk, which has the queue.
        let disk_dir = if dir.join("partition").exists() {
            dir.parent()?.to_path_buf()
        } else {
            dir
        };
        let disk = disk_dir.file_name()?.to_str()?.to_owned();
        let queue = disk_dir.join("queue");
        let logical_block_size = files
            .number(queue.join("logical_block_size"))
            .filter(|size: &usize| size.is_power_of_two())
            .unwrap_or(512);
        Some(BlockDevice {
            number,
            name,
            logical_block_size,
            physical_block_size: files
                .number(queue.join("physical_block_size"))
                .filter(|size: &usize| size.is_power_of_two())
                .unwrap_or(logical_block_size),
            io_poll: files.flag(queue.join("io_poll")).unwrap_or(false),
            poll_queues: driver_of(&disk).and_then(|driver| {
                files.number(format!("sys/module/{driver}/parameters/poll_queues"))
            }),
            rotational: files.flag(queue.join("rotational")),
            max_transfer: files
                .number(queue.join("max_sectors_kb"))
                .and_then(|kib: usize| kib.checked_mul(1024)),
            disk,
        })
    }
}

/// The module that drives a disk, for those that have poll queues to set up.
fn driver_of(disk: &str) -> Option<&'static str> {
    [
        ("nvme", "nvme"),
        ("vd", "virtio_blk"),
        ("nullb", "null_blk"),
    ]
    .into_iter()
    .find(|(prefix, _)| disk.starts_with(prefix))
    .map(|(_, driver)| driver)
}

struct Mount {
    point: PathBuf,
    file_system: String,
    source: PathBuf,
}

/// The mount that a path lies on: the longest mount point above it, and of
/// several on the same point the last.
fn mount_of(table: &str, path: &Path) -> Option<Mount> {
    table
        .lines()
        .filter_map(parse_mount)
        .filter(|mount| path.starts_with(&mount.point))
        .max_by_key(|mount| mount.point.components().count())
}

/// Parses a line of `/proc/self/mountinfo`, see `proc_pid_mountinfo(5)`.
fn parse_mount(line: &str) -> Option<Mount> {
    let (before, after) = line.split_once(" - ")?;
    let mut after = after.split(' ');
    Some(Mount {
        point: unescape(before.split(' ').nth(4)?),
        file_system: after.next()?.to_owned(),
        source: unescape(after.next()?),
    })
}

/// Undoes the octal escapes of white space and backslashes.
fn unescape(text: &str) -> PathBuf {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        let octal = tail
            .get(..3)
            .filter(|_| byte == b'\\')
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match octal {
            Some(escaped) => {
                bytes.push(escaped);
                rest = &tail[3..];
            }
            None => {
                bytes.push(byte);
                rest = tail;
            }
        }
    }
    OsString::from_vec(bytes).into()
}

/// The file system's name by its magic number, see `statfs(2)`, for when the
/// mount table cannot be read.
fn name_by_magic(path: &Path) -> Option<&'static str> {
    let magic = statfs(path).ok()?.filesystem_type().0;
    // The type differs between C libraries and architectures; the numbers have
    // 32 bits.
    Some(match magic as u32 {
        0x0000_ef53 => "ext4",
        0x5846_5342 => "xfs",
        0x9123_683e => "btrfs",
        0xf2f5_2010 => "f2fs",
        0xca45_1a4e => "bcachefs",
        0x2fc1_2fc1 => "zfs",
        0x0102_1994 => "tmpfs",
        0x8584_58f6 => "ramfs",
        0x794c_7630 => "overlay",
        0x6573_5546 => "fuse",
        0x0000_6969 => "nfs",
        0xfe53_4d42 => "cifs",
        0x0102_1997 => "9p",
        0x0000_4d44 => "vfat",
        0x2011_bab0 => "exfat",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::{super::sysfs::made_up::MadeUp, *};

    /// An NVMe disk with two partitions, a logical volume on the second.
    fn disks() -> MadeUp {
        let made_up = MadeUp::new();
        let disk = "sys/devices/pci/nvme/nvme0/nvme0n1";
        made_up
            .write(&format!("{disk}/queue/logical_block_size"), 4096)
            .write(&format!("{disk}/queue/physical_block_size"), 16384)
            .write(&format!("{disk}/queue/io_poll"), 1)
            .write(&format!("{disk}/queue/rotational"), 0)
            .write(&format!("{disk}/queue/max_sectors_kb"), 128)
            .write(&format!("{disk}/nvme0n1p1/partition"), 1)
            .write(&format!("{disk}/nvme0n1p2/partition"), 2)
            .write(&format!("{disk}/nvme0n1p2/dev"), "259:2")
            .write("sys/devices/virtual/block/dm-0/dev", "253:0")
            .write("sys/devices/virtual/block/dm-0/queue/io_poll", 0)
            .write("sys/module/nvme/parameters/poll_queues", 4)
            .write("dev/dm-0", "")
            .write("dev/nvme0n1p2", "")
            .link("dev/mapper/vg-data", "../dm-0")
            .link("sys/dev/block/259:0", &format!("../../../{disk}"))
            .link("sys/dev/block/259:1", &format!("../../../{disk}/nvme0n1p1"))
            .link(
                "sys/class/block/nvme0n1p2",
                &format!("../../../{disk}/nvme0n1p2"),
            )
            .link("sys/class/block/dm-0", "../../devices/virtual/block/dm-0");
        made_up
    }

    #[test]
    fn partition_takes_its_facts_from_the_disk() {
        let made_up = disks();
        let device = BlockDevice::by_number(&made_up.files(), 259, 1).unwrap();
        assert_eq!(
            device,
            BlockDevice {
                number: (259, 1),
                name: "nvme0n1p1".into(),
                disk: "nvme0n1".into(),
                logical_block_size: 4096,
                physical_block_size: 16384,
                io_poll: true,
                poll_queues: Some(4),
                rotational: Some(false),
                max_transfer: Some(128 * 1024),
            }
        );
        let disk = BlockDevice::by_number(&made_up.files(), 259, 0).unwrap();
        assert_eq!((disk.name, disk.disk), ("nvme0n1".into(), "nvme0n1".into()));
    }

    #[test]
    fn device_without_a_queue_gets_the_smallest_block() {
        let made_up = disks();
        let source = Path::new("/dev/mapper/vg-data");
        let device = BlockDevice::by_path(&made_up.files(), source).unwrap();
        assert_eq!(device.name, "dm-0");
        assert_eq!(device.number, (253, 0));
        assert_eq!(device.logical_block_size, 512);
        assert_eq!(device.physical_block_size, 512);
        assert_eq!((device.io_poll, device.poll_queues), (false, None));
        assert_eq!((device.rotational, device.max_transfer), (None, None));
    }

    #[test]
    fn garbled_block_size_is_not_believed() {
        let made_up = disks();
        let file = "sys/devices/virtual/block/dm-0/queue/logical_block_size";
        for size in ["0", "1000", "-1", "big"] {
            made_up.write(file, size);
            let source = Path::new("/dev/mapper/vg-data");
            let device = BlockDevice::by_path(&made_up.files(), source).unwrap();
            assert_eq!(device.logical_block_size, 512, "{size}");
        }
    }

    #[test]
    fn numbers_without_a_device_are_none() {
        let files = disks();
        let files = files.files();
        assert_eq!(BlockDevice::by_number(&files, 0, 27), None);
        assert_eq!(BlockDevice::by_number(&files, 8, 1), None);
        assert_eq!(BlockDevice::by_path(&files, Path::new("tmpfs")), None);
        assert_eq!(BlockDevice::by_path(&files, Path::new("/dev/gone")), None);
    }

    const MOUNTS: &str = "\
        27 1 259:1 / / rw,relatime - ext4 /dev/nvme0n1p1 rw\n\
        40 27 0:40 / /data rw - tmpfs none rw\n\
        41 27 0:41 /sub /data rw shared:5 master:1 - btrfs /dev/nvme0n1p2 rw,subvol=/sub\n\
        42 27 0:42 / /data/with\\040space\\134 rw - overlay overlay rw\n\
        a garbled line";

    #[test]
    fn longest_and_last_mount_wins() {
        let mount = |path: &str| {
            let mount = mount_of(MOUNTS, Path::new(path)).unwrap();
            (mount.file_system, mount.point.to_str().unwrap().to_owned())
        };
        assert_eq!(mount("/etc/x"), ("ext4".into(), "/".into()));
        assert_eq!(mount("/database"), ("ext4".into(), "/".into()));
        assert_eq!(mount("/data"), ("btrfs".into(), "/data".into()));
        assert_eq!(
            mount("/data/with space\\/x"),
            ("overlay".into(), "/data/with space\\".into())
        );
    }

    #[test]
    fn storage_of_every_kind_of_mount() {
        let made_up = disks();
        made_up.write("proc/self/mountinfo", MOUNTS);
        let storage = |path, number| Storage::read(&made_up.files(), Path::new(path), number);
        let device = |storage: &Storage| storage.device.as_ref().map(|d| d.name.clone());

        let root = storage("/etc", (259, 1));
        assert_eq!(root.file_system, "ext4");
        assert_eq!(device(&root).as_deref(), Some("nvme0n1p1"));

        let btrfs = storage("/data/x", (0, 41));
        assert_eq!(btrfs.file_system, "btrfs");
        assert_eq!(btrfs.mount_point.as_deref(), Some(Path::new("/data")));
        assert_eq!(device(&btrfs).as_deref(), Some("nvme0n1p2"));

        let overlay = storage("/data/with space\\", (0, 42));
        assert_eq!(
            (overlay.file_system.as_str(), overlay.device),
            ("overlay", None)
        );
    }

    #[test]
    fn unreadable_mount_table_still_finds_the_device() {
        let made_up = disks();
        let storage = Storage::read(&made_up.files(), Path::new("/etc"), (259, 1));
        assert_eq!(storage.file_system, "");
        assert_eq!(storage.mount_point, None);
        assert!(storage.device.is_some());
    }

    #[test]
    fn storage_of_this_host() {
        let proc_fs = Storage::of(Path::new("/proc")).unwrap();
        assert_eq!(
            (proc_fs.file_system.as_str(), proc_fs.device),
            ("proc", None)
        );
        let here = Storage::of(Path::new(".")).unwrap();
        assert!(!here.file_system.is_empty());
        // Some names stand for several: a "rootfs" has the magic of a tmpfs.
        if ["ext4", "xfs", "btrfs", "tmpfs", "overlay"].contains(&here.file_system.as_str()) {
            assert_eq!(name_by_magic(Path::new(".")), Some(&*here.file_system));
        }
        assert_eq!(
            Storage::of(Path::new("/no/such/path")).unwrap_err().kind(),
            io::ErrorKind::NotFound
        );
    }
}
