"""Debian's kernels: fetched with apt, kept in a cache, their modules resolved.

apt works in a folder of its own, with the archive's signatures checked: the machine's
package lists, sources and files stay as they are.
"""

import json
import lzma
import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

KEYS = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
MIRROR = "http://deb.debian.org"

# What the machine needs: disks, NVMe, and the file systems that tests are run on.
MODULES = ("virtio_pci", "virtio_blk", "nvme", "ext4", "xfs")


@dataclass(frozen=True)
class Suite:
    """Where a kernel comes from."""

    archive: str
    name: str


# By the version that is asked for, oldest first. The last suite moves: what it offers
# today is what the report says.
SUITES = {
    "5.10": Suite("debian-security", "bullseye-security"),
    "6.1": Suite("debian", "bookworm"),
    "6.12": Suite("debian", "trixie"),
    "7.2": Suite("debian", "forky"),
}
ALIASES = {"oldest": "5.10", "newest": "7.2"}


class KernelError(Exception):
    """A kernel could not be had."""


@dataclass(frozen=True)
class Kernel:
    """A kernel in the cache."""

    # What was asked for, such as 6.12.
    asked: str
    # What `uname -r` says, such as 6.12.117+deb13-amd64.
    release: str
    # Debian's version, such as 6.12.117-1.
    version: str
    suite: str
    image: Path
    # In the order in which they are loaded.
    modules: tuple[Path, ...]


def cached(asked: str, cache: Path) -> Kernel | None:
    """The kernel of an earlier fetch, if it has all the modules of today."""
    home = cache / asked
    try:
        facts = json.loads((home / "facts.json").read_text())
    except FileNotFoundError:
        return None
    if facts["wanted"] != list(MODULES):
        return None
    return Kernel(
        asked=asked,
        release=facts["release"],
        version=facts["version"],
        suite=facts["suite"],
        image=home / "vmlinuz",
        modules=tuple(home / name for name in facts["modules"]),
    )


def fetch(asked: str, cache: Path) -> Kernel:
    """Fetches the newest kernel of the suite."""
    suite = SUITES[asked]
    if not KEYS.exists():
        raise KernelError(f"{KEYS} is missing: apt-get install debian-archive-keyring")
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="fetch-", dir=cache) as scratch:
        work = Path(scratch)
        environment = private_apt(suite, work)
        run(["apt-get", "update", "-qq"], environment)
        depends = output(["apt-cache", "depends", "linux-image-amd64"], environment)
        release = release_in(depends)
        names = packages(release, environment)
        shown = output(["apt-cache", "show", "--no-all-versions", names[0]], environment)
        version = field(shown, "Version")
        debs = work / "debs"
        debs.mkdir()
        run(["apt-get", "download", "-qq", *names], environment, cwd=debs)
        root = work / "root"
        for deb in sorted(debs.glob("*.deb")):
            run(["dpkg-deb", "--extract", str(deb), str(root)])

        home = work / "home"
        (home / "modules").mkdir(parents=True)
        modules = load_order(root, release)
        # Debian 14 has it beside the modules.
        places = (root / f"boot/vmlinuz-{release}", root / f"lib/modules/{release}/vmlinuz")
        found = [place for place in places if place.exists()]
        if not found:
            raise KernelError(f"no vmlinuz in {' '.join(names)}")
        shutil.copy(found[0], home / "vmlinuz")
        for module in modules:
            (home / "modules" / plain_name(module)).write_bytes(uncompressed(module))
        facts = {
            "release": release,
            "version": version,
            "suite": suite.name,
            "wanted": list(MODULES),
            "modules": [f"modules/{plain_name(module)}" for module in modules],
        }
        (home / "facts.json").write_text(json.dumps(facts, indent=2))
        shutil.rmtree(cache / asked, ignore_errors=True)
        home.rename(cache / asked)
    kernel = cached(asked, cache)
    assert kernel is not None
    return kernel


def private_apt(suite: Suite, work: Path) -> dict[str, str]:
    """Sets up an apt in `work` that knows this suite alone; the environment for it."""
    apt = work / "apt"
    for folder in ("lists/partial", "cache/archives/partial"):
        (apt / folder).mkdir(parents=True)
    (apt / "status").touch()
    (apt / "sources.list").write_text(
        f"deb [arch=amd64 signed-by={KEYS}] {MIRROR}/{suite.archive} {suite.name} main\n"
    )
    (apt / "apt.conf").write_text(
        f"""\
Dir::State "{apt}"; Dir::State::status "{apt}/status"; Dir::State::lists "{apt}/lists";
Dir::Cache "{apt}/cache"; Dir::Etc::sourcelist "{apt}/sources.list"; Dir::Etc::sourceparts "-";
APT::Architecture "amd64"; APT::Architectures "amd64"; APT::Sandbox::User "";
Debug::NoLocking "true"; Acquire::Retries "2"; Acquire::http::Timeout "20";
Acquire::Languages "none";
"""
    )
    return {**os.environ, "APT_CONFIG": str(apt / "apt.conf"), "LC_ALL": "C.UTF-8"}


def release_in(depends: str) -> str:
    """The kernel that linux-image-amd64 depends on, in the words of apt-cache."""
    found = re.search(r"Depends: linux-image-(\d\S*-amd64)$", depends, re.MULTILINE)
    if found is None:
        raise KernelError(f"linux-image-amd64 depends on no kernel:\n{depends}")
    return found.group(1)


def packages(release: str, environment: dict[str, str]) -> list[str]:
    """The packages that hold this kernel: one until Debian 13, several since."""
    names = [f"linux-{part}-{release}" for part in ("image", "base", "binary", "modules")]
    listed = output(["apt-cache", "pkgnames", "linux-"], environment).split()
    return [name for name in names if name in listed]


def field(text: str, name: str) -> str:
    """A field of a package's description."""
    found = re.search(rf"^{name}: (.*)$", text, re.MULTILINE)
    if found is None:
        raise KernelError(f"a package without {name}")
    return found.group(1)


def load_order(root: Path, release: str) -> list[Path]:
    """Every module that is needed, after those it needs: modprobe's own answer."""
    # Debian 14 has them in /usr/lib.
    if not (root / "lib/modules").exists():
        (root / "lib").symlink_to("usr/lib")
    run(["depmod", "--basedir", str(root), release])
    order: list[Path] = []
    for name in MODULES:
        command = ["modprobe", "--config", "/dev/null", "--dirname", str(root)]
        command += ["--set-version", release, "--show-depends", name]
        for module in insmod_lines(output(command)):
            if module not in order:
                order.append(module)
    return order


def insmod_lines(shown: str) -> list[Path]:
    """The files in what `modprobe --show-depends` printed; it has `builtin` lines too."""
    words = [line.split() for line in shown.splitlines()]
    return [Path(word[1]) for word in words if word and word[0] == "insmod"]


def plain_name(module: Path) -> str:
    """The name of a module's file without its compression."""
    return module.name[: module.name.index(".ko")] + ".ko"


def uncompressed(module: Path) -> bytes:
    """The module as busybox's insmod takes it."""
    data = module.read_bytes()
    match module.suffix:
        case ".ko":
            return data
        case ".xz":
            return lzma.decompress(data)
        case ".zst":
            done = subprocess.run(["zstd", "-dc"], input=data, capture_output=True, check=True)
            return done.stdout
        case other:
            raise KernelError(f"{module}: no way to unpack {other}")


def run(command: list[str], environment: dict[str, str] | None = None, cwd: Path | None = None) -> None:
    """Runs a command, whose output is shown only if it fails."""
    done = subprocess.run(
        command,
        env=tools(environment),
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=600,
    )
    if done.returncode != 0:
        raise KernelError(f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout}")


def output(command: list[str], environment: dict[str, str] | None = None) -> str:
    """What a command prints."""
    done = subprocess.run(
        command, env=tools(environment), capture_output=True, text=True, check=False, timeout=120
    )
    if done.returncode != 0:
        raise KernelError(f"{' '.join(command)}: exit code {done.returncode}\n{done.stderr}")
    return done.stdout


def tools(environment: dict[str, str] | None) -> dict[str, str]:
    """With the folders of administrators in the path, where depmod and mkfs are."""
    environment = dict(os.environ if environment is None else environment)
    environment["PATH"] = environment.get("PATH", "/usr/bin:/bin") + ":/usr/sbin:/sbin"
    return environment
