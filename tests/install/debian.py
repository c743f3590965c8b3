# tests/install/debian.py SOURCE VERSION - the Debian packages: built, looked at by lintian, installed in a root made
# for them, used there, and removed.
#
# SPDX-License-Identifier: MIT
"""The root comes from mmdebstrap and the archives that apt is set up for here; it has a mount, PID, IPC and network
namespace of its own, so that nothing in it reaches the host or a network."""
import hashlib
import os
import pathlib
import re
import shlex
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from tree_kit import MINUTES, export, tap, tool  # noqa: E402

PACKAGES = ("libwherry0", "libwherry-inspect0", "libwherry-dev", "wherry")

# What is mounted in the root, and what is run there.  The namespaces end with the process.
INSIDE = """
set -e
root=$1; shift
mount --bind /dev "$root/dev"
mount -t tmpfs tmpfs "$root/dev/shm"
mount -t proc proc "$root/proc"
ip link set lo up
exec chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive \
    sh -e -c "$@"
"""

USE = r"""
cd /root
wherry --version
wherry --help >help
test "$(wc -l <help)" -le 23
wherry recv unix:./inbox >got &
printf 'one\ntwo\n' | wherry send unix:./inbox
wait "$!"
test "$(cat got)" = "$(printf 'one\ntwo')"
wherry recv shm://packages >got &
printf 'three\n' | wherry send shm://packages
wait "$!"
test "$(cat got)" = three
wherry segment create -s 100 posix-shm:/packages
test "$(wherry ls shm -n -r -o NAME)" = posix-shm:/packages
wherry rm posix-shm:/packages
exec 3<got
wherry who /root/got
exec 3<&-
wherry doctor >/dev/null
bash -c '. /usr/share/bash-completion/completions/wherry
         COMP_LINE="wherry tran" COMP_POINT=11 COMP_WORDBREAKS=" :"
         _wherry wherry && test "${COMPREPLY[*]}" = transports'
for page in man1/wherry.1 man1/wherry-ls.1 man1/stepkill.1 man3/wherry_channel.3 man3/wherry_channel_open.3 \
            man7/wherry.7 man7/wherry-semantics.7; do
    zcat "/usr/share/man/$page.gz" | grep -q '^\.TH'
done
./receiver >got &
./sender
wait "$!"
test "$(cat got)" = "hello there"
./by-cmake
rm -f got help
"""


def blocks(text, call):
    for block in re.findall(r"^```c\b[^\n]*\n(.*?)^```", text, re.M | re.S):
        if call in block and "main(" in block:
            return block
    raise tap.Failure(f"README.md has no program that calls {call}()")


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


class Work:
    def __init__(self, source, version, place):
        self.source, self.version, self.place, self.root = source, version, place, place / "root"
        self.tree = place / f"wherry-{version}"
        self.before = set()

    def package(self, name, where=None):
        found = list((where or self.place).glob(f"{name}_{self.version}_*.deb"))
        if len(found) != 1:
            raise tap.Failure(f"{name}: {len(found)} packages of version {self.version} were built")
        return found[0]

    # ---- building ----

    def says_version(self):
        export(self.source, self.tree)
        said = tool("dpkg-parsechangelog", "-S", "Version", cwd=self.tree).strip()
        if said != self.version:
            raise tap.Failure(f"debian/changelog says {said}, meson.build {self.version}")
        when = tool("dpkg-parsechangelog", "-S", "Timestamp", cwd=self.tree).strip()
        released = re.search(r"^released = '(\d+)'", (self.source / "meson.build").read_text(), re.M).group(1)
        if when != released:
            raise tap.Failure(f"debian/changelog says {when}, meson.build was released at {released}")
        for path in (self.tree / "debian").glob("*.symbols"):
            for line in path.read_text().splitlines():
                if line.startswith(" ") and line.split()[-1] != self.version:
                    raise tap.Failure(f"{path.name}: {line.strip()}: the version is {self.version}; while it is below "
                                      f"1.0 a program needs no older one than it was built with")

    def build_source(self):
        tool("dpkg-source", "--build", self.tree.name, cwd=self.place)

    def build(self):
        """From the source package, so that what that lacks is missed."""
        out = self.place / "unpacked"
        tool("dpkg-source", "--extract", f"wherry_{self.version}.dsc", out, cwd=self.place)
        tool("dpkg-buildpackage", "--unsigned-source", "--unsigned-changes", "--build=full", "-j2", cwd=out,
             env={**os.environ, "TZ": "UTC", "LC_ALL": "C.UTF-8"})
        for name in PACKAGES:
            self.package(name)

    def build_again(self):
        """Elsewhere, with another umask, zone, language and time of day."""
        out = self.place / "again" / "a-longer-path" / "to+another" / "folder"
        out.mkdir(parents=True)
        tool("dpkg-source", "--extract", self.place / f"wherry_{self.version}.dsc", out / "sources", cwd=self.place)
        tool("dpkg-buildpackage", "--unsigned-source", "--unsigned-changes", "--build=binary", "-j3",
             cwd=out / "sources", umask=0o027, env={**os.environ, "TZ": "Pacific/Chatham", "LC_ALL": "C",
                                                    "LANG": "de_DE", "HOME": "/nonexistent", "USER": "nobody"})
        first = sorted(self.place.glob("*.deb"))
        differ = [p.name for p in first if not (out / p.name).exists() or sha256(p) != sha256(out / p.name)]
        if len(first) < len(PACKAGES) or differ:
            raise tap.Failure(f"two builds differ: {', '.join(differ)} of {len(first)} packages")

    def lintian(self):
        self.package("wherry")
        changes = next(self.place.glob("*.changes"))
        root = ["--allow-root"] if os.getuid() == 0 else []
        said = tool("lintian", *root, "--fail-on", "error", "--tag-display-limit", "0", changes)
        for line in said.splitlines():
            print(f"# {line}")

    def contents(self):
        """Each file that is installed is in the package where people look for it, and nothing else but what dpkg
        adds."""
        listed = [line.split(" -> ")[0].replace("VERSION", self.version)
                  for line in (self.source / "tests/install/files.txt").read_text().splitlines()
                  if line and not line.startswith("#")]
        wrong = []
        for name in PACKAGES:
            def owner(path):
                if re.match(r"LIB/libwherry(-inspect)?\.so\.", path):
                    return "libwherry-inspect0" if "inspect" in path else "libwherry0"
                return "libwherry-dev" if re.match(r"LIB/|include/|share/man/man3/", path) else "wherry"
            wanted = {re.sub(r"^share/zsh/site-functions", "share/zsh/vendor-completions", p) +
                      (".gz" if p.startswith("share/man/") else "") for p in listed if owner(p) == name}
            lines = tool("dpkg-deb", "--contents", self.package(name)).splitlines()
            paths = [line.split(None, 5)[5].split(" -> ")[0] for line in lines]
            got = {re.sub(r"^\./usr/(?:lib/[^/]+-linux-[^/]+/)?", lambda m: "LIB/" if "lib" in m.group() else "", p)
                   for p in paths if not p.endswith("/") and not p.startswith(("./usr/share/doc/",
                                                                               "./usr/share/lintian/"))}
            wrong += [f"{name} has {p}" for p in sorted(got - wanted)]
            wrong += [f"{name} lacks {p}" for p in sorted(wanted - got)]
        if wrong:
            raise tap.Failure("\n".join(wrong))

    # ---- the root ----

    def files(self):
        """What is in the root, but for the books of dpkg and of the loader."""
        passed = re.compile(r"^(proc|dev|tmp|root|var/lib/dpkg|var/log|var/cache/ldconfig|etc/ld\.so\.cache)(/|$)")
        return {str(p.relative_to(self.root)) for p in self.root.rglob("*")
                if not passed.match(str(p.relative_to(self.root)))}

    def inside(self, script):
        return tool("unshare", "--mount", "--pid", "--ipc", "--net", "--fork", "--kill-child", "sh", "-c", INSIDE, "sh",
                    self.root, script)

    def make_root(self):
        if os.getuid() != 0:
            raise tap.Skip("only root can make a root, and go there")
        needs = set()
        for name in PACKAGES:
            for word in tool("dpkg-deb", "--field", self.package(name), "Depends").split(","):
                needs.add(word.split("|")[0].split()[0].split(":")[0])
        release = dict(line.split("=", 1) for line in pathlib.Path("/etc/os-release").read_text().splitlines() if line)
        lists = [pathlib.Path("/etc/apt/sources.list"), *pathlib.Path("/etc/apt/sources.list.d").iterdir()]
        lists = [p for p in lists if p.suffix in (".list", ".sources") and p.is_file()]
        sources = [p for p in lists if "debian" in p.read_text()] or lists
        settings = self.place / "apt.conf"  # proxies and the like
        settings.write_text(tool("apt-config", "dump", "Acquire"))
        tool("mmdebstrap", "--mode=root", f"--aptopt={settings}", "--variant=essential",
             "--include=" + ",".join(sorted(needs - set(PACKAGES))), release["VERSION_CODENAME"].strip('"'),
             self.root, *sources)
        self.before = self.files()

    def made(self):
        if not self.before:
            raise tap.Skip("there is no root") if os.getuid() != 0 else tap.Failure("there is no root")

    def install(self):
        self.made()
        for name in PACKAGES:
            (self.root / "root" / f"{name}.deb").write_bytes(self.package(name).read_bytes())
        self.inside("dpkg --install /root/*.deb && dpkg --audit")
        if len(self.files() - self.before) < 100:
            raise tap.Failure("dpkg has installed next to nothing")

    def compile(self):
        """README.md's sender and receiver, by pkg-config, and a program by CMake: outside, where there is a compiler,
        against what is in the root."""
        self.made()
        readme, libraries = (self.source / "README.md").read_text(), next(self.root.glob("usr/lib/*-linux-*"))
        environment = {**os.environ, "PKG_CONFIG_SYSROOT_DIR": str(self.root),
                       "PKG_CONFIG_LIBDIR": str(libraries / "pkgconfig"),
                       "PKG_CONFIG_ALLOW_SYSTEM_CFLAGS": "1", "PKG_CONFIG_ALLOW_SYSTEM_LIBS": "1"}
        flags = shlex.split(tool("pkg-config", "--cflags", "--libs", "wherry", env=environment))
        for name, call in (("sender", "wherry_channel_send"), ("receiver", "wherry_channel_receive")):
            path = self.place / f"{name}.c"
            path.write_text(blocks(readme, call))
            tool("cc", "-std=c11", path, "-o", self.root / "root" / name, *flags)
        where = self.place / "cmake"
        where.mkdir()
        (where / "CMakeLists.txt").write_text(
            "cmake_minimum_required(VERSION 3.16)\nproject(use C)\nfind_package(wherry REQUIRED COMPONENTS inspect)\n"
            f"add_executable(by-cmake {self.source}/tests/install/use.c)\n"
            "target_compile_definitions(by-cmake PRIVATE WITH_INSPECT)\n"
            "target_link_libraries(by-cmake wherry::inspect)\n")
        tool("cmake", "-S", where, "-B", where / "build", f"-DCMAKE_PREFIX_PATH={self.root}/usr",
             "-DCMAKE_BUILD_WITH_INSTALL_RPATH=ON")
        tool("cmake", "--build", where / "build")
        (self.root / "root/by-cmake").write_bytes((where / "build/by-cmake").read_bytes())
        (self.root / "root/by-cmake").chmod(0o755)

    def use(self):
        self.made()
        said = self.inside(USE)
        if f"wherry {self.version}\n" not in said:
            raise tap.Failure(f"the command says no version: {said}")

    def purge(self):
        self.made()
        self.inside(f"dpkg --purge {' '.join(PACKAGES)}")
        after = self.files()
        if after != self.before:
            raise tap.Failure(f"left: {', '.join(sorted(after - self.before)) or 'nothing'}; "
                              f"gone: {', '.join(sorted(self.before - after)) or 'nothing'}")
        if "wherry" in tool("dpkg", "--root", self.root, "--get-selections"):
            raise tap.Failure("dpkg still knows a package")


def main():
    source, version = pathlib.Path(sys.argv[1]).resolve(), sys.argv[2]
    with tempfile.TemporaryDirectory(prefix="wherry-debian-") as place:
        work = Work(source, version, pathlib.Path(place).resolve())
        return tap.run([
            ("the changelog and the symbols have the version and date of meson.build", work.says_version),
            ("the source package builds", work.build_source),
            ("the packages build from it", work.build),
            ("lintian finds no error", work.lintian),
            ("each file is in the package where it belongs", work.contents),
            ("a second build elsewhere, in another zone and language, gives the same bytes", work.build_again),
            ("a root for them is made", work.make_root),
            ("they install there", work.install),
            ("programs are built with the headers and libraries of that root", work.compile),
            ("the command, the manual, completion and those programs work there", work.use),
            ("purged, they leave nothing", work.purge)])


sys.exit(main())
