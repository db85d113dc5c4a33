#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The rules of the house that no general tool knows; `make lint` runs them by tests/lint.sh.

Each rule is a function that yields (path, line, what is wrong and what to do). It looks at the
files that git knows, or, without git, at all outside build/ and var/. Exit code 1 when any rule
found something.
"""

import ast
import collections
import functools
import hashlib
import os
import re
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PROGRAM_FOLDERS = ("api", "worker", "scheduler", "cli")

# The layers inside common/, lowest first; what is named in none of them is domain, the highest.
# An include points down or stays in its layer.
LAYERS = (
    ("base", "auto buf clock conf conf_check conf_source crashpoint embed entropy err json log log_gather mem money"
     " program queue_list text trace uuid"),
    ("drivers", "db db_private db_result redis statements"),
)
# Migrations up to this one say what they write anew in words of their own.
REWRITTEN_FREELY = "0053"
FILE_LINES_MAX = 500
FUNCTION_LINES_MAX = 80
# Lists of words, not code.
LONG_FILES = {"common/password_list.c"}

BANNED = {
    "sprintf": "use text_format() or buf_addf()",
    "vsprintf": "use vsnprintf()",
    "strcpy": "use text_format() or mem_dup()",
    "strcat": "use struct buf",
    "strncpy": "use text_format()",
    "strncat": "use struct buf",
    "strtok": "use strcspn() and pointers",
    "atoi": "use text_to_int()",
    "atol": "use text_to_int()",
    "atoll": "use text_to_int()",
    "atof": "no floating point: use money_parse()",
    "gets": "use fgets()",
    "scanf": "use text_to_int() and its kin",
    "sscanf": "use text_to_int() and its kin",
    "fscanf": "use text_to_int() and its kin",
    "alloca": "use mem_alloc() and AUTO(mem_free)",
    "localtime": "use clock_format(), or localtime_r() where a time zone is meant",
    "gmtime": "use gmtime_r()",
    "ctime": "use clock_format()",
    "asctime": "use clock_format()",
    "rand": "use randombytes_uniform()",
    "srand": "use randombytes_uniform()",
    "system": "start a program by fork and exec",
    "popen": "start a program by fork and exec",
    "redisCommand": "use redis_call(): arguments are bytes, never a format",
    "redisAppendCommand": "use redis_append(): arguments are bytes, never a format",
    "redisvCommand": "use redis_call()",
    "PQexec": "use db_query() with a statement of a store file",
    "PQexecParams": "use db_query() with a statement of a store file",
    "mg_handle_form_request": "it hangs on a NUL byte in the packaged civetweb",
}
# What only the named files may name. Pattern, files, what to do.
RESERVED = (
    (r"<civetweb\.h>|\bmg_[a-z_]+\(", r"api/(http|http_wire|framing)\.[ch]",
     "civetweb is called in api/http*.c alone"),
    (r"<hiredis/|\bredis[A-Z]\w*\(", r"common/redis\.[ch]", "hiredis is called in common/redis.c alone"),
    (r"\bredis_(add|add_bytes|call|append|take|take_all)\(", r"common/(redis|queue\w*)\.[ch]",
     "Redis' keys and commands stand in common/queue*.c alone"),
    (r"<libpq-fe\.h>|\bPQ[a-z]\w*\(", r"common/(db(_connect|_result|_tx|_notify)?\.c|db_private\.h)",
     "libpq is called in common/db*.c alone"),
    (r"<sys/random\.h>|\bgetrandom\(", r"common/uuid\.c", "random bytes come from libsodium"),
)
SQL_START = re.compile(
    r'"\s*(SELECT |INSERT INTO |UPDATE \w+ SET|DELETE FROM |WITH \w+ AS|TRUNCATE |CREATE TABLE |ALTER TABLE |DROP TABLE )'
)


# ---- what the rules look at ----


@functools.lru_cache(maxsize=None)
def files():
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if done.returncode == 0 and done.stdout:
        found = done.stdout.decode().split("\0")
    else:
        found = []
        for folder, folders, names in os.walk(ROOT):
            folders[:] = [f for f in folders if f not in (".git", "build", "var", "node_modules")]
            found += [os.path.relpath(os.path.join(folder, name), ROOT) for name in names]
    return sorted(name for name in found if name and os.path.isfile(os.path.join(ROOT, name)))


@functools.lru_cache(maxsize=None)
def text_of(path):
    with open(os.path.join(ROOT, path), encoding="utf-8", errors="replace") as file:
        return file.read()


def c_files(folder=""):
    return [path for path in files() if path.endswith((".c", ".h")) and path.startswith(folder)]


def source_files():
    """The C files of the programs: tests may name what programs may not."""
    return [path for path in c_files() if not path.startswith("tests/")]


TOKENS = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.DOTALL)


def blank(text, keep):
    """`text` with comments, and strings unless `keep`, as blanks: lines and columns stay."""

    def replace(match):
        token = match[0]
        if token[0] in "\"'" and (keep or token[0] == "'"):
            return token if keep else "'" + " " * (len(token) - 2) + "'"
        return re.sub(r"[^\n]", " ", token)

    return TOKENS.sub(replace, text)


@functools.lru_cache(maxsize=None)
def code_of(path):
    """Without comments and without what stands in strings."""
    return blank(text_of(path), keep=False)


@functools.lru_cache(maxsize=None)
def code_and_strings_of(path):
    return blank(text_of(path), keep=True)


def line_at(text, offset):
    return text.count("\n", 0, offset) + 1


def matches(pattern, path, text):
    for match in re.finditer(pattern, text):
        yield path, line_at(text, match.start()), match


# ---- rules ----


def layer_of(path):
    stem = os.path.splitext(os.path.basename(path))[0]
    for rank, (_, names) in enumerate(LAYERS):
        if stem in names.split():
            return rank
    return len(LAYERS)


def layer_name(rank):
    return LAYERS[rank][0] if rank < len(LAYERS) else "domain"


def includes():
    """Folders include common/ and themselves; inside common/ includes point down."""
    for path in source_files():
        top = path.split("/")[0]
        for _, line, match in matches(r'#include "([^"]+)"', path, code_and_strings_of(path)):
            wanted = match[1]
            if not os.path.isfile(os.path.join(ROOT, wanted)):
                yield path, line, f'"{wanted}" is not there: include by the path from the top folder'
            elif wanted.split("/")[0] not in (("common",) if top == "common" else ("common", top)):
                yield path, line, f'{top}/ may not include "{wanted}": move what both need to common/'
            elif top == "common" and layer_of(wanted) > layer_of(path):
                yield path, line, (
                    f'{layer_name(layer_of(path))} may not include {layer_name(layer_of(wanted))} '
                    f'("{wanted}"): layers stand in tests/lint_rules.py'
                )


def banned_functions():
    pattern = r"(?<![\w.>])(" + "|".join(BANNED) + r")\s*\("
    for path in c_files():
        if path.startswith("tests/") and path.endswith("test_statements.c"):
            continue  # asks the server by libpq itself
        for _, line, match in matches(pattern, path, code_of(path)):
            yield path, line, f"{match[1]}() is banned: {BANNED[match[1]]}"


def reserved_calls():
    for pattern, allowed, advice in RESERVED:
        for path in source_files():
            if not re.fullmatch(allowed, path):
                for _, line, match in matches(pattern, path, code_of(path)):
                    yield path, line, f"{match[0].rstrip('(')}: {advice}"


def comments():
    """Only /* */, no notes to oneself, no banners."""
    for path in c_files():
        text = text_of(path)
        for _, line, match in matches(TOKENS, path, text):
            token = match[0]
            if token.startswith("//"):
                yield path, line, "a // comment: write /* */"
            if token.startswith("/") and re.search(r"\b(TODO|FIXME|XXX|HACK)\b(?!.*#\d+)", token):
                yield path, line, "a note without the number of its issue: write it as an issue"
            if token.startswith("/") and re.search(r"[*=#-]{8,}", token):
                yield path, line, "a banner: write /* ---- name ---- */"


def words():
    """Keywords that the house does without."""
    for path in c_files():
        code = code_of(path)
        for _, line, _ in matches(r"\bgoto\b", path, code):
            yield path, line, "goto: use AUTO() and return"
        for _, line, _ in matches(r"\btypedef\s+(struct|union|enum)\b[^;(]*[{;]", path, code):
            yield path, line, "typedef of a struct: name it struct x"
    for path in source_files():
        if re.match(r"(common|worker|api)/(money|payment|order|cart|product|gateway)", path):
            for _, line, _ in matches(r"\b(double|float)\b", path, code_of(path)):
                yield path, line, "floating point near money: use int64_t minor units"


def unmade():
    """What frees itself is made before anything returns: else that frees what the stack had there."""
    for path in c_files():
        code = code_of(path)
        for _, line, match in matches(r"\bAUTO(?:_VALUE)?\([a-z_0-9]+\)\s+[^;=()]*?(\w+);", path, code):
            rest = code[match.end():].split("\n}\n", 1)[0]
            if "return" in re.split(rf"\b{match[1]}\b", rest, maxsplit=1)[0]:
                yield path, line, f"{match[1]} is freed by a return before it is made: = {{0}}, or return above it"


def stores():
    """SQL stands in store files, and common/statements.c lists them all."""
    listed = set(re.findall(r"X\((\w+)\)", code_of("common/statements.c"))) - {"store"}
    line = line_at(text_of("common/statements.c"), text_of("common/statements.c").find("STORES(X)"))
    declared = set()
    for path in source_files():
        if path == "common/statements.h":
            continue
        for _, at, match in matches(r"\bDB_STATEMENTS\((\w+),", path, code_of(path)):
            declared.add(match[1])
            if path != f"common/{match[1]}.c":
                yield path, at, f"the store {match[1]} should stand in common/{match[1]}.c"
            if match[1] not in listed:
                yield path, at, f"the store {match[1]} is not in STORES of common/statements.c: add it"
    for store in sorted(listed - declared):
        yield "common/statements.c", line, f"STORES names {store}, which no DB_STATEMENTS() declares"
    for path in source_files():
        owns_sql = {f"common/{store}.c" for store in listed | declared}
        owns_sql |= {"common/db.c", "common/db_connect.c", "common/resource.h"}  # ping, pooler; shapes
        if path not in owns_sql:
            for _, at, _ in matches(SQL_START, path, code_and_strings_of(path)):
                yield path, at, "SQL outside of a store file: give it a row in a table of common/"


def c_string(text):
    """The value of adjacent C string literals."""
    return "".join(ast.literal_eval(part) for part in re.findall(r'"(?:\\.|[^"\\])*"', text))


def settings():
    """etc/till.env shows each setting of common/conf.c with its default, and no other."""
    code = code_and_strings_of("common/conf.c")
    row = re.compile(
        r'\{"([A-Z_]+)",\s*(?:"[^"]*"|NULL),\s*(?:TEXT|INT)\(\w+\),\s*(NULL|"(?:\\.|[^"\\])*")'
        r",\s*-?\w+,\s*-?\w+,\s*(true|false),"
    )
    table = {m[1]: (line_at(code, m.start()), m[2], m[3] == "true") for m in row.finditer(code)}
    if len(table) != len(re.findall(r'^    \{"[A-Z_]+", ', code, re.MULTILINE)):
        yield "common/conf.c", 1, "a row of the settings table is not understood by tests/lint_rules.py"
    path = "etc/till.env"
    if not os.path.exists(os.path.join(ROOT, path)):
        yield path, 1, "there is no sample of the settings"
        return
    seen = {}
    before = ""
    for number, line in enumerate(text_of(path).splitlines(), 1):
        match = re.fullmatch(r"(#?)([A-Z_]+)=(.*)", line)
        if match:
            seen[match[2]] = number
            if match[2] not in table:
                yield path, number, f"{match[2]} is no setting of common/conf.c: remove it"
                continue
            _, default, secret = table[match[2]]
            default = "" if default == "NULL" else c_string(default)
            if match[3].strip('"') != default:
                yield path, number, f'{match[2]} shows "{match[3]}", its default is "{default}"'
            if secret and not match[1]:
                yield path, number, f"{match[2]} is a secret: comment it out"
            if not before.startswith("# "):
                yield path, number, f"{match[2]} lacks its paragraph"
        before = line
    for key in sorted(set(table) - set(seen)):
        yield "common/conf.c", table[key][0], f"{key} is not in etc/till.env: add its paragraph there"
    if list(seen) != sorted(seen):
        yield path, 1, "the settings are not sorted"


def folders():
    tops = sorted({path.split("/")[0] for path in files() if "/" in path})
    for top in tops:
        if not top.startswith(".") and f"{top}/README.md" not in files():
            yield f"{top}/README.md", 1, "each top folder has a README.md: write it"


def readmes():
    """Whoever looks for a file finds what it is for in the README of its folder."""
    for path in files():
        folder, name = os.path.split(path)
        stem, kind = os.path.splitext(name)
        if folder.split("/")[0] not in (*PROGRAM_FOLDERS, "common", "sql") or kind not in (".c", ".sql"):
            continue
        page = f"{folder}/README.md"
        if page in files() and not re.search(rf"\b{re.escape(stem)}\b", text_of(page)):
            yield page, 1, f"does not name {name}"


def headers():
    """Licence first; guards named after the path."""
    for path in c_files():
        if not text_of(path).startswith("/* SPDX-License-Identifier: MIT\n"):
            yield path, 1, "begin with /* SPDX-License-Identifier: MIT and what the file owns"
        if path.endswith(".h"):
            guard = re.sub(r"[^A-Z0-9]", "_", path.upper())
            if not re.search(rf"^#ifndef {guard}\n#define {guard}\n", text_of(path), re.MULTILINE):
                yield path, 1, f"the include guard should be {guard}"
    for path in files():
        if path.endswith(".sh") and "SPDX-License-Identifier: MIT" not in text_of(path)[:200]:
            yield path, 1, "the licence line is missing: # SPDX-License-Identifier: MIT"


def sizes():
    for path in c_files():
        lines = text_of(path).splitlines()
        if len(lines) > FILE_LINES_MAX and path not in LONG_FILES and not path.startswith("tests/"):
            yield path, len(lines), f"{len(lines)} lines, at most {FILE_LINES_MAX}: split it by duty"
        begun = None
        for number, line in enumerate(code_of(path).splitlines(), 1):
            if line.rstrip() == "{":
                begun = number
            elif line.startswith("}") and begun:
                if line.rstrip() == "}" and number - begun > FUNCTION_LINES_MAX:
                    yield path, begun, (
                        f"a function of {number - begun} lines, at most {FUNCTION_LINES_MAX}: "
                        "split it, or make it a table"
                    )
                begun = None


def migrations():
    """What a shop may have applied is never changed: `till migrate` would refuse to go on there."""
    listing = "sql/landed.sha256"
    sums = dict(reversed(line.split("  ")) for line in text_of(listing).splitlines())
    for path in files():
        if not re.fullmatch(r"sql/\d{4}_\w+\.sql", path):
            continue
        name = os.path.basename(path)
        if name not in sums:
            yield listing, 1, f"lacks {name}: cd sql && sha256sum {name} >>landed.sha256"
        elif sums.pop(name) != hashlib.sha256(text_of(path).encode()).hexdigest():
            yield path, 1, "was changed; add the next number instead"
    for name in sums:
        yield listing, 1, f"{name} is gone, and shops have it"


def sql_functions(text):
    """The functions that a migration writes: name, whether it may replace one, where, the comment above, and its
    lines without comments."""
    for found in re.finditer(r"^((?:--.*\n)*)CREATE (OR REPLACE )?FUNCTION (\w+)", text, re.M):
        quote = re.compile(r"\bAS (\$\w*\$)").search(text, found.end())
        if not quote:
            continue
        body = text[found.start(3) : text.index(quote[1], quote.end())]
        lines = [line.split("--")[0].strip() for line in body.splitlines()]
        yield found[3], bool(found[2]), line_at(text, found.start(3)), found[1], [line for line in lines if line]


def rewritten_functions():
    """A function that is written anew begins with its newest text: one was once taken from an older migration, and what
    had been added in between was lost. The comment above it says what it is taken from and how much of that is gone."""
    newest = {}
    for path in sorted(path for path in files() if re.fullmatch(r"sql/\d{4}_\w+\.sql", path)):
        number = os.path.basename(path)[:4]
        for name, replaces, line, comment, lines in sql_functions(text_of(path)):
            before = newest.get(name)
            if before and replaces and number > REWRITTEN_FREELY:
                gone = sum((collections.Counter(before[1]) - collections.Counter(lines)).values())
                wanted = f"-- From {before[0]}, without {gone} of its lines"
                if wanted not in comment:
                    yield path, line, f'{name}(): look at what is gone, and say "{wanted}: why" above it'
            newest[name] = (number, lines)


def python_files():
    for path in files():
        if path.endswith(".py"):
            try:
                compile(text_of(path), path, "exec")
            except SyntaxError as error:
                yield path, error.lineno or 1, f"is no Python: {error.msg}"


def python_imports(path, seen):
    """(path, line, module) for each import in `path`, and in what of tests/ it imports, of what is
    neither Python's nor ours."""
    seen.add(path)
    for node in ast.walk(ast.parse(text_of(path))):
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            modules = [node.module] if node.module else []
            modules += [".".join(filter(None, (node.module, alias.name))) for alias in node.names]
        else:
            continue
        folder = os.path.dirname(path)
        roots = (folder,) if getattr(node, "level", 0) else (os.path.dirname(folder), "tests", "tests/bench")
        for module in modules:
            ours = {f"{root}/{module.replace('.', '/')}.py" for root in roots} & set(files())
            for other in ours - seen:
                yield from python_imports(other, seen)
            top = module.split(".")[0]
            if not ours and roots != (folder,) and not os.path.isdir(os.path.join(ROOT, "tests", top)):
                if top not in sys.stdlib_module_names:
                    yield path, node.lineno, top


def packages():
    """What a target of make runs in Python imports no more than what that target installs."""
    for target in re.split(r"\n(?=[a-z-]+:)", text_of("Makefile")):
        installs = re.search(r"install-packages\.sh ?(\w*)$", target, re.MULTILINE)
        if not installs:
            continue
        listed = subprocess.run(
            ["sh", "etc/install-packages.sh", "--list", *installs[1].split()],
            cwd=ROOT, capture_output=True, text=True, check=True,
        ).stdout.split()
        for script in re.findall(r"\$\(PYTHON\) (\S+\.py)", target):
            for path, line, module in python_imports(script, set()):
                if f"python3-{module}" not in listed:
                    yield path, line, (
                        f"{script} comes to this import of {module}, and make {target.split(':')[0]} does not "
                        f"install python3-{module}: name it in etc/install-packages.sh, or do without"
                    )


RULES = (
    includes, banned_functions, reserved_calls, comments, words, unmade, stores, settings, folders, headers,
    sizes, migrations, rewritten_functions, python_files, packages, readmes,
)


def main():
    problems = 0
    for rule in RULES:
        for path, line, message in rule():
            print(f"{path}:{line}: {message} [{rule.__name__}]")
            problems += 1
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
