"""What the machine boots from and works on: an initramfs and disks."""

import re
import shutil
import stat
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from kernels import Kernel, KernelError, output, run

BUSYBOX = Path("/bin/busybox")

# Options that the oldest kernel knows, whatever the defaults of the tools have become.
MKE2FS_CONF = """\
[defaults]
  base_features = sparse_super,large_file,filetype,resize_inode,dir_index,ext_attr
  blocksize = 4096
  inode_size = 256
  inode_ratio = 16384
[fs_types]
  ext4 = {
    features = has_journal,extent,huge_file,flex_bg,metadata_csum,64bit,dir_nlink,extra_isize
  }
"""
XFS_OPTIONS = ("-m", "bigtime=0,inobtcount=0", "-i", "nrext64=0")

DISK_BYTES = 512 << 20


@dataclass
class Archive:
    """A cpio archive in the form that the kernel unpacks."""

    data: bytearray = field(default_factory=bytearray)
    inode: int = 0

    def folder(self, name: str) -> None:
        self._entry(name, stat.S_IFDIR | 0o755, b"")

    def file(self, name: str, data: bytes, mode: int = 0o644) -> None:
        self._entry(name, stat.S_IFREG | mode, data)

    def device(self, name: str, major: int, minor: int) -> None:
        self._entry(name, stat.S_IFCHR | 0o600, b"", (major, minor))

    def finish(self) -> bytes:
        self._entry("TRAILER!!!", 0, b"")
        return bytes(self.data)

    def _entry(self, name: str, mode: int, data: bytes, device: tuple[int, int] = (0, 0)) -> None:
        self.inode += 1
        encoded = name.encode() + b"\0"
        links = 2 if stat.S_ISDIR(mode) else 1
        fields = (self.inode, mode, 0, 0, links, 0, len(data), 0, 0, *device, len(encoded), 0)
        self.data += b"070701" + b"".join(b"%08X" % number for number in fields) + encoded
        self._pad()
        self.data += data
        self._pad()

    def _pad(self) -> None:
        self.data += bytes(-len(self.data) % 4)


def initramfs(kernel: Kernel, init: Path, settings: str, libraries: list[Path]) -> bytes:
    """The first file system: busybox, the modules, and `init` with its settings."""
    archive = Archive()
    folders = {"bin", "dev", "modules"}
    for library in libraries:
        folders.update(str(parent)[1:] for parent in library.parents if str(parent) != "/")
    for folder in sorted(folders):
        archive.folder(folder)
    archive.device("dev/console", 5, 1)
    archive.file("init", init.read_bytes(), 0o755)
    archive.file("settings", settings.encode())
    archive.file("bin/busybox", BUSYBOX.read_bytes(), 0o755)
    archive.file("modules/order", "".join(f"{m.name}\n" for m in kernel.modules).encode())
    for module in kernel.modules:
        archive.file(f"modules/{module.name}", module.read_bytes())
    for library in libraries:
        archive.file(str(library)[1:], library.read_bytes(), 0o755)
    return archive.finish()


def libraries_of(programs: Iterator[Path]) -> list[Path]:
    """The loader and the libraries of programs that are not linked statically."""
    found: set[Path] = set()
    for program in programs:
        done = subprocess.run(["ldd", program], capture_output=True, text=True, check=False)
        found.update(Path(path) for path in re.findall(r"(/\S+) \(0x", done.stdout))
    return sorted(found)


def programs_in(tests: Path) -> Iterator[Path]:
    """The executables of a set of tests."""
    for path in tests.iterdir():
        if path.is_file() and path.stat().st_mode & stat.S_IXUSR:
            yield path


def disk_of_tests(tests: Path, work: Path) -> Path:
    """A disk with the set of tests, for reading."""
    made = work / "tests.img"
    content = sum(path.stat().st_size for path in tests.rglob("*") if path.is_file())
    ext4(made, content + content // 10 + (64 << 20), tests)
    return made


def empty_disks(work: Path) -> dict[str, Path]:
    """A disk for each file system."""
    made = {name: work / f"{name}.img" for name in ("ext4", "xfs", "nvme")}
    ext4(made["ext4"], DISK_BYTES)
    ext4(made["nvme"], DISK_BYTES)
    sparse(made["xfs"], DISK_BYTES)
    run(["mkfs.xfs", "-q", *XFS_OPTIONS, str(made["xfs"])])
    return made


def ext4(image: Path, size: int, content: Path | None = None) -> None:
    """Makes a file that holds an ext4 file system with the files of `content`."""
    conf = image.with_suffix(".conf")
    conf.write_text(MKE2FS_CONF)
    sparse(image, size)
    command = ["env", f"MKE2FS_CONFIG={conf}", "mke2fs", "-q", "-F", "-t", "ext4"]
    if content is not None:
        command += ["-d", str(content)]
    run([*command, str(image)])


def sparse(image: Path, size: int) -> None:
    with image.open("wb") as file:
        file.truncate(size)


def missing_packages() -> list[str]:
    """Debian packages with tools that are not here."""
    needed = {
        "qemu-system-x86_64": "qemu-system-x86",
        "mke2fs": "e2fsprogs",
        "mkfs.xfs": "xfsprogs",
        "modprobe": "kmod",
        "depmod": "kmod",
        "zstd": "zstd",
    }
    path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    missing = {package for tool, package in needed.items() if shutil.which(tool, path=path) is None}
    if not BUSYBOX.exists() or "not a dynamic" not in busybox_links():
        missing.add("busybox-static")
    return sorted(missing)


def busybox_links() -> str:
    done = subprocess.run(["ldd", BUSYBOX], capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def install(packages: list[str]) -> None:
    """Installs Debian packages on this machine."""
    become = [] if output(["id", "-u"]).strip() == "0" else ["sudo"]
    try:
        run([*become, "apt-get", "update", "-qq"])
        command = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages]
        run([*become, "env", "DEBIAN_FRONTEND=noninteractive", *command])
    except FileNotFoundError as error:
        raise KernelError(f"needed: {' '.join(packages)}; {error.filename} is not here") from error
