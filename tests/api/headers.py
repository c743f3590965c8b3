# tests/api/headers.py SOURCE - each public header compiles alone, as C11, C++11 and C++17, with each compiler that is
# there.
#
# SPDX-License-Identifier: MIT
import pathlib
import shutil
import subprocess
import sys

import tap

LANGUAGES = [("gcc", "c", "c11"), ("clang", "c", "c11"), ("g++", "c++", "c++11"), ("clang++", "c++", "c++11"),
             ("g++", "c++", "c++17"), ("clang++", "c++", "c++17")]


def compile_text(source, text, compiler, language, standard):
    if shutil.which(compiler) is None:
        raise tap.Skip(f"{compiler} is not installed: scripts/install-deps --for=check installs it")
    result = subprocess.run(
        [compiler, "-x", language, f"-std={standard}", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion",
         "-Werror", "-fsyntax-only", "-I", str(source / "include"), "-"],
        input=text, capture_output=True, text=True)
    if result.returncode != 0:
        raise tap.Failure(result.stderr)


def compile_alone(source, header, compiler, language, standard):
    # Twice: the include guard; without _GNU_SOURCE: a header asks nothing of its reader.
    compile_text(source, f"#include <{header}>\n#include <{header}>\nint main(void);\nint main(void) {{ return 0; }}\n",
                 compiler, language, standard)


def compile_options(source, compiler, language, standard):
    compile_text(source, "#include <wherry/wherry.h>\nint main(void) { struct wherry_channel_options options = "
                         "WHERRY_CHANNEL_OPTIONS; options.mode = 0600; return options.size == 0; }\n",
                 compiler, language, standard)


def main():
    source = pathlib.Path(sys.argv[1])
    headers = sorted(str(p.relative_to(source / "include")) for p in (source / "include").rglob("*.h"))
    cases = []
    for header in headers:
        for compiler, language, standard in LANGUAGES:
            cases.append((f"{header} alone, {compiler} -std={standard}",
                          lambda h=header, c=compiler, l=language, s=standard: compile_alone(source, h, c, l, s)))
    for compiler, language, standard in LANGUAGES:
        cases.append((f"options are initialised, {compiler} -std={standard}",
                      lambda c=compiler, l=language, s=standard: compile_options(source, c, l, s)))

    def umbrella():
        text = (source / "include/wherry/wherry.h").read_text()
        apart = ("wherry/wherry.h", "wherry/inspect.h")  # the latter is another library's
        missing = [h for h in headers if h not in apart and f"#include <{h}>" not in text]
        if missing:
            raise tap.Failure(f"wherry.h does not include {', '.join(missing)}")

    cases.append(("the umbrella includes every header of libwherry", umbrella))
    return tap.run(cases)


sys.exit(main())
