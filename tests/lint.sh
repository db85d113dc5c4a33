#!/bin/sh
# SPDX-License-Identifier: MIT
#
# What `make lint` checks after a build with all warnings as errors: lint.sh [CHECK...]
# Each line of a complaint is file:line: what is wrong and what to do. Without arguments all checks
# run, about a minute on two cores; with names only those, in seconds: `sh tests/lint.sh rules`.
# The exit code is 1 when any complains, or when a tool is not there.
set -u
cd "$(dirname "$0")/.." || exit 1
python=/usr/bin/python3
out=build/lint
mkdir -p "$out"

# The files that git knows, or, where there is no git, those on disk.
list() {
    if git ls-files >/dev/null 2>&1 && [ -n "$(git ls-files | head -n 1)" ]; then
        git ls-files -- "$@" | while read -r file; do [ ! -f "$file" ] || echo "$file"; done
    else
        for pattern in "$@"; do
            find . -name "$pattern" -not -path './build/*' -not -path './var/*' \
                -not -path '*/node_modules/*' | sed 's,^\./,,'
        done
    fi
}

# Formatted as .clang-format says. Cure: make format.
check_format() {
    list '*.c' '*.h' | xargs clang-format --dry-run -Werror --ferror-limit=1 2>&1 |
        sed -n 's/error: code should be clang-formatted.*/not formatted: run "make format"/p' |
        complain
}

# The compiler flags that a header alone is tried with: those of the Makefile, without code. Fuzz
# targets, too: make test has them all in one file, make fuzz each by itself.
check_headers() {
    cflags=$(pkg-config --cflags libpq hiredis jansson libsodium libcurl openssl)
    list '*.h' 'tests/fuzz/*.c' | while read -r header; do
        # shellcheck disable=SC2086
        echo "#include \"$header\"" |
            ${CC:-cc} -std=c17 -D_GNU_SOURCE -I. $cflags -Wall -Wextra -Werror -Wundef \
                -Wstrict-prototypes -fsyntax-only -x c - 2>&1 | grep 'error:' |
            sed "s,\$, (it must compile alone: include in $header what it names),"
    done | complain
}

check_cppcheck() {
    folders=
    for folder in common api worker scheduler cli; do
        [ ! -d "$folder" ] || folders="$folders $folder"
    done
    mkdir -p "$out/cppcheck"
    # shellcheck disable=SC2086
    cppcheck -q -j2 --std=c11 --language=c -I. -D_GNU_SOURCE --library=posix,gnu \
        --enable=warning,performance,portability --inline-suppr --error-exitcode=1 \
        --suppress=missingIncludeSystem --suppress=normalCheckLevelMaxBranches \
        --cppcheck-build-dir="$out/cppcheck" \
        --template='{file}:{line}: {message} [{id}]' $folders 2>&1 | complain
}

# The checks stand in .clang-tidy. Not for tests/: Criterion's macros trip most of them.
check_tidy() {
    $python tests/lint_commands.py "$out/compile_commands.json" >"$out/sources" || {
        echo 'tests/lint_commands.py: found no sources' | complain
        return
    }
    ended=0
    xargs -P2 -n1 clang-tidy --quiet -p "$out" <"$out/sources" >"$out/tidy" 2>"$out/tidy.err" ||
        ended=$?
    sed -n "s,^$PWD/,,; /: \(warning\|error\): /p" "$out/tidy" | sort -u >"$out/tidy.short"
    [ $ended -eq 0 ] || [ -s "$out/tidy.short" ] ||
        echo "$out/tidy.err:1: clang-tidy itself failed: read it" >"$out/tidy.short"
    complain <"$out/tidy.short"
}

check_rules() {
    $python tests/lint_rules.py 2>&1 | complain
}

check_scripts() {
    {
        list '*.sh' '.ci/run' | while read -r script; do
            sh -n "$script" 2>&1 | sed "s,^,$script:1: ,"
            command -v shellcheck >/dev/null && shellcheck -f gcc "$script"
        done
    } | complain
}

# Shows what it reads, and keeps it for the count.
complain() {
    tee -a "$out/complaints"
}

tools_are_there() {
    for tool in clang-format clang-tidy cppcheck pkg-config "$python"; do
        command -v "$tool" >/dev/null || {
            echo "lint: $tool is missing: sh etc/install-packages.sh lint" >&2
            return 1
        }
    done
}

checks="format rules headers scripts cppcheck tidy"
for name in "$@"; do
    case " $checks " in
    *" $name "*) ;;
    *)
        echo "usage: lint.sh [$(echo "$checks" | sed 's/ /|/g')]..." >&2
        exit 2
        ;;
    esac
done
[ $# -eq 0 ] || checks=$*
tools_are_there || exit 1

: >"$out/complaints"
begun=$(date +%s)
for name in $checks; do
    before=$(wc -l <"$out/complaints")
    start=$(date +%s)
    "check_$name"
    found=$(($(wc -l <"$out/complaints") - before))
    echo "lint: $name: $([ "$found" -eq 0 ] && echo ok || echo "$found complaints")" \
        "($(($(date +%s) - start)) s)"
done
total=$(wc -l <"$out/complaints")
echo "lint: $total complaints in $(($(date +%s) - begun)) s"
[ "$total" -eq 0 ]
