# tests/install/install.py SOURCE BUILD VERSION - what `meson install` brings: its files, and programs built with them.
#
# SPDX-License-Identifier: MIT
"""tests/install/files.txt has each path that is installed, LIB for the folder of libraries and VERSION for the version.
Programs are built by pkg-config and by CMake, in C11 and C++17, shared and static, and run."""
import os
import pathlib
import re
import shlex
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "api"))
import tap  # noqa: E402

CMAKE = """
cmake_minimum_required(VERSION 3.16)
project(use C CXX)
set(CMAKE_C_STANDARD 11)
set(CMAKE_CXX_STANDARD 17)
set(CMAKE_CXX_STANDARD_REQUIRED TRUE)
set(CMAKE_C_EXTENSIONS FALSE)
set(CMAKE_CXX_EXTENSIONS FALSE)
find_package(wherry {version} REQUIRED COMPONENTS inspect)
find_package(wherry {version} REQUIRED) # twice in a project: a part of it may ask too
configure_file("{source}" use.cpp COPYONLY)
foreach(library wherry wherry-static inspect inspect-static)
  add_executable(c-${{library}} "{source}")
  add_executable(cpp-${{library}} "${{CMAKE_CURRENT_BINARY_DIR}}/use.cpp")
  foreach(program c-${{library}} cpp-${{library}})
    target_link_libraries(${{program}} PRIVATE wherry::${{library}})
    target_compile_options(${{program}} PRIVATE -Wall -Wextra -Werror)
    if(library MATCHES inspect)
      target_compile_definitions(${{program}} PRIVATE WITH_INSPECT)
    endif()
  endforeach()
endforeach()
"""

ASK = """
cmake_minimum_required(VERSION 3.16)
project(ask C)
find_package(wherry {words})
message(STATUS "found: ${{wherry_FOUND}} ${{wherry_VERSION}}")
"""


def tool(*words, **how):
    result = subprocess.run([str(w) for w in words], capture_output=True, text=True, stdin=subprocess.DEVNULL,
                            timeout=240, **how)
    if result.returncode != 0:
        raise tap.Failure(f"{' '.join(map(str, words))}: {(result.stdout + result.stderr)[-3000:]}")
    return result.stdout


class Installed:
    def __init__(self, source, build, version, place):
        self.source, self.version, self.place, self.root = source, version, place, place / "root"
        tool("meson", "install", "-C", build, "--no-rebuild", "--quiet", "--destdir", self.root)
        found = [p for p in self.root.rglob("libwherry.so")]
        if len(found) != 1:
            raise tap.Failure(f"libwherry.so was installed {len(found)} times")
        self.libraries = found[0].parent
        self.prefix = next(p.parent for p in self.root.rglob("include"))
        self.use = source / "tests/install/use.c"

    def paths(self):
        """Each file and link, with where a link leads."""
        found = []
        for path in sorted(self.root.rglob("*")):
            if path.is_symlink() or not path.is_dir():
                name = str(path.relative_to(self.prefix))
                name = name.replace(str(self.libraries.relative_to(self.prefix)), "LIB", 1)
                link = f" -> {os.readlink(path)}" if path.is_symlink() else ""
                found.append((name + link).replace(self.version, "VERSION"))
        return found

    def environment(self):
        return {**os.environ, "PKG_CONFIG_LIBDIR": f"{self.libraries}/pkgconfig:" + tool(
                    "pkg-config", "--variable", "pc_path", "pkg-config").strip(),
                "PKG_CONFIG_SYSROOT_DIR": str(self.root)}

    def flags(self, package, *options):
        words = shlex.split(tool("pkg-config", *options, "--cflags", "--libs", package, env=self.environment()))
        # what is not ours lies in no root of ours
        return [w for w in words if not re.match(rf"-[IL]{re.escape(str(self.root))}/usr/(include|lib)\b", w)
                or str(self.prefix) in w]

    def says(self, program, inspect, **environment):
        """Run it, and see that it did what it was made for."""
        wanted = f"hello there, {self.version}\n" + ("processes\n" if inspect else "")
        got = tool(program, env={**os.environ, **environment})
        if got != wanted:
            raise tap.Failure(f"{program} printed {got!r}, not {wanted!r}")


def needed(program):
    return re.findall(r"\(NEEDED\).*\[(.*)\]", tool("readelf", "-d", program))


def by_pkg_config(installed, compiler, standard, package, static):
    program = installed.place / f"{compiler}-{package}-{'static' if static else 'shared'}"
    inspect = package == "wherry-inspect"
    language = "c++" if compiler.endswith("++") else "c"
    flags = installed.flags(package, *(["--static"] if static else []))
    if static and inspect:  # Debian has no static libmnl: what is ours is static
        flags = [re.sub(r"^-l(wherry.*)", r"-l:lib\1.a", flag) for flag in flags]
    tool(compiler, f"-std={standard}", "-Wall", "-Wextra", "-Wpedantic", "-Werror",
         *(["-DWITH_INSPECT"] if inspect else []), *(["-static"] if static and not inspect else []), "-x", language,
         installed.use, "-x", "none", "-o", program, *flags)
    libraries = needed(program)
    if static and [name for name in libraries if "wherry" in name or not inspect]:
        raise tap.Failure(f"a static program needs {libraries}")
    if not static and "libwherry.so.0" not in libraries:
        raise tap.Failure(f"a program needs {libraries}: no libwherry.so.0 among them")
    installed.says(program, inspect, LD_LIBRARY_PATH=str(installed.libraries))


def cmake(installed, name, text, *, fails=False):
    place = installed.place / f"cmake-{name}"
    place.mkdir()
    (place / "CMakeLists.txt").write_text(text)
    command = ["cmake", "-S", str(place), "-B", str(place / "build"), f"-DCMAKE_PREFIX_PATH={installed.prefix}",
               "-DCMAKE_FIND_USE_SYSTEM_PACKAGE_REGISTRY=OFF", "-DCMAKE_FIND_USE_PACKAGE_REGISTRY=OFF"]
    if fails:
        result = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=240)
        if result.returncode == 0:
            raise tap.Failure(f"find_package() succeeds: {text}")
        return result.stderr, place / "build"
    return tool(*command), place / "build"


def main():
    source, build, version = pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2]).resolve(), sys.argv[3]
    with tempfile.TemporaryDirectory(prefix="wherry-install-") as place:
        try:
            installed = Installed(source, build, version, pathlib.Path(place).resolve())
        except (tap.Failure, OSError) as failure:
            return tap.run([("meson install", lambda failure=failure: (_ for _ in ()).throw(failure))])

        def files():
            listed = (source / "tests/install/files.txt").read_text().splitlines()
            wanted = sorted(line for line in listed if line and not line.startswith("#"))
            got = sorted(installed.paths())
            if got != wanted:
                raise tap.Failure("\n".join(
                    [f"installed, but not listed: {p}" for p in got if p not in wanted] +
                    [f"listed, but not installed: {p}" for p in wanted if p not in got] or ["a path is listed twice"]))

        def modes():
            wrong = [f"{p.relative_to(installed.root)} {p.stat().st_mode & 0o7777:o}" for p in installed.root.rglob("*")
                     if p.is_file() and not p.is_symlink() and p.stat().st_mode & 0o7777 !=
                     (0o755 if p.parent.name == "bin" or ".so" in p.name else 0o644)]
            if wrong:
                raise tap.Failure(f"not the permissions of installed files: {', '.join(wrong)}")

        def no_paths():
            """No search path for libraries in what is installed, and nothing of the folders it was built in."""
            for path in [*(installed.prefix / "bin").iterdir(), *installed.libraries.glob("*.so.*.*.*")]:
                dynamic = tool("readelf", "-d", path)
                if "RPATH" in dynamic or "RUNPATH" in dynamic:
                    raise tap.Failure(f"{path.name} has a search path for libraries")
            for path in installed.root.rglob("*"):
                if path.is_file() and str(build).encode() in path.read_bytes():
                    raise tap.Failure(f"{path.relative_to(installed.root)} names the folder that it was built in")

        def command():
            got = tool(installed.prefix / "bin/wherry", "--version",
                       env={**os.environ, "LD_LIBRARY_PATH": str(installed.libraries)})
            if got != f"wherry {version}\n":
                raise tap.Failure(f"the command says {got!r}")

        def pair():
            """A libwherry that calls what is between the two libraries by another release's name."""
            other = installed.place / "other"
            other.mkdir()
            name = "libwherry.so.0"
            data = (installed.libraries / name).read_bytes()
            changed = data.replace(f"WHERRY_PRIVATE_{version}\0".encode(), f"WHERRY_PRIVATE_{version[:-1]}~\0".encode())
            (other / name).write_bytes(changed)
            result = subprocess.run([installed.prefix / "bin/wherry", "--version"], capture_output=True, text=True,
                                    env={**os.environ, "LD_LIBRARY_PATH": f"{other}:{installed.libraries}"})
            if changed == data or result.returncode == 0 or f"WHERRY_PRIVATE_{version}" not in result.stderr:
                raise tap.Failure(f"loaded all the same: {result.stdout}{result.stderr}")

        def pc():
            for package in ("wherry", "wherry-inspect"):
                got = tool("pkg-config", "--modversion", package, env=installed.environment()).strip()
                if got != version:
                    raise tap.Failure(f"{package}.pc says {got}")

        def by_cmake():
            _, where = cmake(installed, "use", CMAKE.format(source=installed.use, version=".".join(
                version.split(".")[:2])))
            tool("cmake", "--build", where, "-j2")
            for library in ("wherry", "wherry-static", "inspect", "inspect-static"):
                for language in ("c", "cpp"):
                    program = where / f"{language}-{library}"
                    if ("libwherry.so.0" in needed(program)) == library.endswith("static"):
                        raise tap.Failure(f"{program.name} needs {needed(program)}")
                    installed.says(program, "inspect" in library)

        def finds(name, words, found):
            text = ASK.format(words=words)
            said, _ = cmake(installed, name, text, fails=not found)
            if found and f"found: 1 {version}" not in said:
                raise tap.Failure(said)

        def bash_completion():
            script = "/usr/share/bash-completion/bash_completion"
            got = tool("bash", "--norc", "-c", f". {script}; _completion_loader wherry; complete -p wherry",
                       env={**os.environ, "XDG_DATA_DIRS": str(installed.prefix / "share")})
            if got != "complete -F _wherry wherry\n":
                raise tap.Failure(f"bash-completion finds {got!r}")

        def zsh_completion():
            functions = installed.prefix / "share/zsh/site-functions"
            got = tool("zsh", "-f", "-c", f"fpath=('{functions}' $fpath); autoload -Uz compinit; compinit -D -u; "
                                          "print $_comps[wherry]")
            if got != "_wherry\n":
                raise tap.Failure(f"zsh finds {got!r}")

        major, minor, patch = (int(part) for part in version.split("."))
        cases = [("what is installed is what files.txt lists", files), ("permissions", modes),
                 ("no path of the build is left in it", no_paths), ("the command runs from there", command),
                 ("a libwherry-inspect is not loaded with the libwherry of another release", pair),
                 ("pkg-config knows both packages and their version", pc)]
        for package in ("wherry", "wherry-inspect"):
            for compiler, standard in (("gcc", "c11"), ("g++", "c++17"), ("clang", "c11"), ("clang++", "c++17")):
                for static in (False, True):
                    kind = "static" if static else "shared"
                    cases.append((f"pkg-config {package}: {compiler} -std={standard}, {kind}",
                                  lambda c=compiler, s=standard, p=package, x=static:
                                  by_pkg_config(installed, c, s, p, x)))
        cases += [("CMake: each target, in C11 and C++17", by_cmake),
                  ("CMake: this version", lambda: finds("this", f"{version} EXACT REQUIRED", True)),
                  ("CMake: any version", lambda: finds("any", "REQUIRED", True)),
                  ("CMake: no later patch", lambda: finds("patch", f"{major}.{minor}.{patch + 1} REQUIRED", False)),
                  ("CMake: no later minor version", lambda: finds("minor", f"{major}.{minor + 1} REQUIRED", False)),
                  ("CMake: no other major version", lambda: finds("major", f"{major + 1} REQUIRED", False)),
                  ("CMake: no component that there is not", lambda: finds("part", "REQUIRED COMPONENTS sails", False)),
                  ("bash-completion finds the completion", bash_completion),
                  ("zsh's compinit finds the completion", zsh_completion)]
        return tap.run(cases)


sys.exit(main())
