"""The laws of the house: who reads time, who imports whom, how large a piece may be, and what nothing is called.

Every law is a check over source text, so each check is tested with a source that breaks it.
"""

from __future__ import annotations

import ast
import builtins
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "schedappliance"
MODULES = sorted(PACKAGE.rglob("*.py"))

# A station imports itself and those before it.
STATIONS = [
    *(
        "diagnostics",
        "clock",
        "visible",
        "progress",
        "kinds",
        "lockfile",
        "fsync",
        "drafts",
        "syntax",
        "model",
        "importing",
        "lint",
        "engine",
        "store",
        "commands",
        "core",
    ),
    *("edge", "client", "doctor", "transports", "preview", "web", "boot", "cli", "__main__"),
]
# Which stations may import what comes from outside.
RESERVED = {
    "sqlite3": {"store"},
    "lark": {"syntax"},
    "yaml": {"syntax"},
    "re2": {"model"},
    "watchdog": {"edge", "doctor", "boot"},
    "subprocess": {"edge", "doctor", "cli", "transports"},
    "select": {"edge", "boot", "client"},
    "socket": {"edge", "client", "doctor", "web"},
    "starlette": {"web"},
    "uvicorn": {"web"},
    "jinja2": {"web"},
    "markupsafe": {"web"},
    "time": {"clock"},
}
# They make up the keeper, which runs alone and cannot import the modules with ctypes and the clock.
KEEPER = [f"schedappliance.edge.programs.{name}" for name in ("keeper", "keeper_programs", "keeper_starts", "spawner")]
# These are imported by single modules.
RESERVED_FOR_MODULES = {
    "ctypes": {"schedappliance.edge.linux", *KEEPER},
    "holidays": {"schedappliance.cli.holidays"},
    "zoneinfo": {"schedappliance.model.calendars.zones"},
}
# These write days, or times that a command, an expression or a stanza takes. All other texts of instants come from the clock.
WRITERS_OF_TIMES = {
    "schedappliance.clock",
    "schedappliance.cli.holidays",
    "schedappliance.client.questions",
    "schedappliance.importing.atjob",
    "schedappliance.model.calendars.instants",
}
TIME_READERS = {"now", "utcnow", "today"}
MAX_FUNCTION_LINES, MAX_MODULE_LINES = 60, 600
FORBIDDEN_NAMES = ("utils", "util", "helper", "helpers", "manager")
# Participles that hide what a variable holds: name the thing.
FORBIDDEN_VARIABLES = {"found", "said", "told", "kept", "taken", "begun", "given"}
# Functions with these names changed something, or had other meanings in other modules: say what the function does.
FORBIDDEN_FUNCTIONS = {"claimed", "connected", "go_on", "happened", "known", "linked", "why_not"}
# In these stations, which make up the daemon, each public class has a name of its own.
DAEMON = {"engine", "store", "commands", "core", "edge"}
BUILTINS = {name for name in dir(builtins) if name.islower() and not name.startswith("_")}


@cache
def _nodes(tree: ast.AST) -> list[ast.AST]:
    """All nodes of a tree. A dozen laws read those of each module."""
    return list(ast.walk(tree))


def _imports(tree: ast.AST) -> Iterator[str]:
    """Every imported module by its full name; of `from a import b` both `a` and `a.b`, for b may be a module."""
    for node in _nodes(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "." * node.level + (node.module or "")
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _station(module: str) -> str:
    """`schedappliance.syntax.tree` stands in `syntax`."""
    return module.split(".")[1] if "." in module else ""


def _module(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _time_reads(tree: ast.AST) -> list[int]:
    """The lines that read the time: by the module `time`, or, where `datetime` is imported, by its own readers."""
    lines = [
        node.lineno
        for node in _nodes(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        and any(name.split(".")[0] == "time" for name in _imports(ast.Module([node], [])))
    ]
    reads = [n.lineno for n in _nodes(tree) if isinstance(n, ast.Attribute) and n.attr in TIME_READERS]
    return sorted(lines + (reads if "datetime" in _imports(tree) else []))


def _texts_of_times(tree: ast.AST) -> list[int]:
    """The lines that make a text of a date and a time: by a method, or by a format with both."""
    methods = [n.lineno for n in _nodes(tree) if isinstance(n, ast.Attribute) and n.attr in ("isoformat", "strftime")]
    texts = ((n.lineno, n.value) for n in _nodes(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str))
    return [*methods, *(line for line, text in texts if "%Y" in text and "%H" in text)]


def _wrong_imports(module: str, tree: ast.AST) -> list[str]:
    """What a module imports although it stands behind it, or is reserved for another station."""
    station, wrong = _station(module), []
    for name in _imports(tree):
        top = name.split(".")[0]
        if name.startswith("."):
            wrong.append(name)
        elif top == "schedappliance" and (target := _station(name)) in STATIONS:
            # The package's own module holds nothing but the version.
            if not station or STATIONS.index(target) > STATIONS.index(station):
                wrong.append(name)
        elif module in KEEPER and top == "time":
            continue
        elif (top in RESERVED and station not in RESERVED[top]) or module not in RESERVED_FOR_MODULES.get(
            top, {module}
        ):
            wrong.append(name)
    return wrong


def _too_long(tree: ast.AST) -> list[str]:
    functions = (n for n in _nodes(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef))
    return [f.name for f in functions if (f.end_lineno or 0) - f.lineno + 1 > MAX_FUNCTION_LINES]


def _sleeps(tree: ast.AST) -> list[int]:
    """The lines that sleep, under whatever name `sleep` was imported."""
    attributes = [n.lineno for n in _nodes(tree) if isinstance(n, ast.Attribute) and n.attr == "sleep"]
    imported = [n.lineno for n in _nodes(tree) if isinstance(n, ast.ImportFrom) and "time.sleep" in _imports(n)]
    return attributes + imported


def _vague_names(names: list[str]) -> list[str]:
    return [name for name in names if set(name.lower().replace(".", "_").split("_")) & set(FORBIDDEN_NAMES)]


def _defined(tree: ast.AST) -> list[str]:
    kinds = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    classes = [n.name for n in _nodes(tree) if isinstance(n, kinds)]
    return [*classes, *("manager" for name in classes if name.endswith(("Manager", "Helper", "Utils")))]


def _fields(tree: ast.AST) -> set[ast.AST]:
    """The fields and methods of classes: code reaches them through an object, so they shadow nothing outside."""
    statements = [s for c in _nodes(tree) if isinstance(c, ast.ClassDef) for s in c.body]
    return {s.target if isinstance(s, ast.AnnAssign) else s for s in statements}


def _bound(node: ast.AST) -> str | None:
    """The name that a node gives to a variable, a parameter, a caught exception, an import or a function."""
    match node:
        case ast.Name(name, ast.Store()) | ast.arg(name) | ast.ExceptHandler(name=name):
            return name
        case ast.MatchAs(name=name) | ast.MatchStar(name=name) | ast.FunctionDef(name=name):
            return name
        case ast.alias(name, asname):
            return asname or name
    return None


def _empty_variables(tree: ast.AST) -> list[str]:
    """Variables, parameters, attributes and fields with a forbidden name."""
    attributes = [n.attr for n in _nodes(tree) if isinstance(n, ast.Attribute) and isinstance(n.ctx, ast.Store)]
    names = [*attributes, *(name for n in _nodes(tree) if (name := _bound(n)))]
    return [name for name in names if name in FORBIDDEN_VARIABLES]


def _unclear_functions(tree: ast.AST) -> list[str]:
    names = [n.name for n in _nodes(tree) if isinstance(n, ast.FunctionDef)]
    return [name for name in names if name.lstrip("_") in FORBIDDEN_FUNCTIONS]


def _public_classes(tree: ast.AST) -> list[str]:
    return [n.name for n in _nodes(tree) if isinstance(n, ast.ClassDef) and not n.name.startswith("_")]


def _shadowed(tree: ast.AST) -> list[str]:
    """Builtins that a variable, a parameter, an import or a function hides."""
    fields = _fields(tree)
    return [name for n in _nodes(tree) if n not in fields and (name := _bound(n)) and name in BUILTINS]


@cache
def _tree(path: Path) -> ast.Module:
    """Cached: every law reads every module, and parsing takes most of the time."""
    return ast.parse(path.read_text(), str(path))


def _offenders(check: Callable[[Path], object]) -> dict[str, object]:
    """The modules of which the check returns something, and what it returns."""
    return {_module(path): wrong for path in MODULES if (wrong := check(path))}


def test_the_modules_are_found() -> None:
    assert {"schedappliance.clock", "schedappliance.syntax.tree", "schedappliance"} <= {_module(p) for p in MODULES}
    assert {_station(_module(p)) for p in MODULES} - {""} <= set(STATIONS)


def test_only_the_clock_reads_time() -> None:
    readers = _offenders(lambda path: _time_reads(_tree(path))).keys()
    assert readers - {*KEEPER} == {"schedappliance.clock"}


@pytest.mark.parametrize(
    "source",
    [
        "import time",
        "import os, time as t",
        "from time import monotonic",
        "def f():\n    import time",
        "from datetime import datetime\nx = datetime.now(UTC)",
        "import datetime\nx = datetime.datetime.utcnow()",
        "from datetime import date\nx = date.today()",
        "from datetime import datetime as d\nf = d.now",
    ],
)
def test_a_second_reader_of_time_is_found(source: str) -> None:
    assert _time_reads(ast.parse(source))


def test_what_does_not_read_time_is_not_taken_for_it() -> None:
    assert _time_reads(ast.parse("from datetime import datetime\nx = datetime.fromisoformat(y).timestamp()")) == []


def test_only_the_clock_makes_texts_of_instants() -> None:
    assert _offenders(lambda path: _texts_of_times(_tree(path))).keys() == WRITERS_OF_TIMES


@pytest.mark.parametrize(
    "source", ["x = due.isoformat()", "x = due.strftime(form)", "x = f'{due:%Y-%m-%d %H:%M}'", "FORM = '%Y%m%dT%H%M%S'"]
)
def test_a_second_text_of_an_instant_is_found(source: str) -> None:
    assert _texts_of_times(ast.parse(source))


def test_a_module_imports_only_its_own_station_and_those_before_it() -> None:
    assert _offenders(lambda path: _wrong_imports(_module(path), _tree(path))) == {}


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("schedappliance.syntax.tree", "from schedappliance.model.values import duration"),
        ("schedappliance.model.values", "from schedappliance.lint import linter"),
        ("schedappliance.engine.states", "import schedappliance.store.jobs"),
        ("schedappliance.core.turn", "def f():\n    from schedappliance.edge import console"),
        ("schedappliance.diagnostics", "from schedappliance.lint.report import full"),
        ("schedappliance", "from schedappliance.cli.main import main"),
        ("schedappliance.model.values", "from .commands import read_command"),
        ("schedappliance.engine.states", "import sqlite3"),
        ("schedappliance.lint.linter", "from yaml import safe_load"),
        ("schedappliance.model.values", "import lark.exceptions"),
        ("schedappliance.core.turn", "import subprocess"),
        ("schedappliance.cli.main", "import socket"),
        ("schedappliance.edge.loop", "import ctypes"),
        ("schedappliance.model.values", "from zoneinfo import ZoneInfo"),
    ],
)
def test_an_import_in_the_wrong_direction_is_found(module: str, source: str) -> None:
    assert _wrong_imports(module, ast.parse(source))


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("schedappliance.model.values", "from schedappliance.syntax.tree import Scalar"),
        ("schedappliance.boot.opening", "import select"),
        ("schedappliance.cli.main", "from schedappliance import __version__, report"),
        ("schedappliance.edge.console.server", "import select, socket"),
    ],
)
def test_an_import_in_the_right_direction_is_not_taken_for_wrong(module: str, source: str) -> None:
    assert _wrong_imports(module, ast.parse(source)) == []


def _cycle(graph: dict[str, set[str]]) -> list[str] | None:
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return None


def test_no_modules_import_each_other_in_a_circle() -> None:
    names = {_module(path) for path in MODULES}
    graph = {_module(p): {n for n in _imports(_tree(p)) if n in names and n != _module(p)} for p in MODULES}
    # A package is imported by the way to its modules; only what is taken from it by name counts.
    packages = {_module(path) for path in MODULES if path.name == "__init__.py"}
    for module, targets in graph.items():
        targets -= {
            t for t in targets & packages if any(o.startswith(f"{t}.") for o in targets) or module.startswith(t)
        }
    assert sum(map(len, graph.values())) > 50
    assert _cycle(graph) is None


def test_a_circle_of_imports_is_found() -> None:
    assert _cycle({"a": {"b"}, "b": {"c"}, "c": {"a"}}) is not None
    assert _cycle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) is None


def test_lint_runs_without_engine_store_and_edge(tmp_path: Path) -> None:
    (tmp_path / "appliance.yaml").write_text("config: sched.conf\n")
    (tmp_path / "sched.conf").write_text('program p { argv = ( "/bin/true" ) }\n')
    (tmp_path / "a.cmd").write_text("run q\n")
    script = (
        "import sys\nfrom schedappliance.cli.main import main\nstatus = main(['lint', sys.argv[1]])\n"
        "print(status, *sorted(sys.modules), file=sys.stderr)\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    status, *modules = done.stderr.split()
    assert status == "1" and "error[E301]" in done.stdout
    assert "schedappliance.lint.linter" in modules
    stations = {_station(name) for name in modules if name.startswith("schedappliance.")}
    assert stations <= {"cli", "clock", "kinds", "lint", "progress", "visible", "diagnostics", "model", "syntax"}
    assert not {"sqlite3", "watchdog", "subprocess"} & set(modules)


def test_no_function_and_no_module_is_too_long() -> None:
    assert _offenders(lambda path: _too_long(_tree(path))) == {}
    assert _offenders(lambda path: len(path.read_text().splitlines()) > MAX_MODULE_LINES) == {}


def test_a_function_that_is_too_long_is_found() -> None:
    assert _too_long(ast.parse("def f():\n" + "    x = 1\n" * MAX_FUNCTION_LINES)) == ["f"]
    assert _too_long(ast.parse("def f():\n" + "    x = 1\n" * (MAX_FUNCTION_LINES - 1))) == []


def test_no_test_sleeps() -> None:
    # Only the files that contain the word are parsed.
    suspects = [path for path in (ROOT / "tests").rglob("*.py") if "sleep" in path.read_text()]
    lines = {path: _sleeps(_tree(path)) for path in suspects}
    assert {path: numbers for path, numbers in lines.items() if numbers} == {}


@pytest.mark.parametrize(
    "source", ["import time\ntime.sleep(1)", "from time import sleep", "import time as t\nt.sleep(1)"]
)
def test_a_test_that_sleeps_is_found(source: str) -> None:
    assert _sleeps(ast.parse(source))


def test_nothing_has_a_name_that_says_nothing() -> None:
    assert _offenders(lambda path: _vague_names([*_module(path).split("."), *_defined(_tree(path))])) == {}


@pytest.mark.parametrize("name", ["utils", "job_helpers", "helper", "store_manager"])
def test_a_name_that_says_nothing_is_found(name: str) -> None:
    assert _vague_names([name]) == [name]
    assert _vague_names(_defined(ast.parse("class JobManager: pass"))) == ["manager"]


def test_variables_are_named_after_what_they_hold() -> None:
    assert _offenders(lambda path: _empty_variables(_tree(path))) == {}


@pytest.mark.parametrize(
    "source",
    [
        "found = 1",
        "for said in x: pass",
        "def f(told): pass",
        "f = lambda *, kept: 1",
        "self.taken = 1",
        "class A:\n    begun: bool",
        "with x as given: pass",
        "try: pass\nexcept E as found: pass",
        "match x:\n    case [*said]: pass",
    ],
)
def test_a_variable_with_an_empty_name_is_found(source: str) -> None:
    assert _empty_variables(ast.parse(source))


def test_a_function_is_named_after_what_it_does() -> None:
    assert _offenders(lambda path: _unclear_functions(_tree(path))) == {}


def test_a_function_with_an_unclear_name_is_found() -> None:
    source = "def _known(): pass\nclass A:\n    def go_on(self): pass\n    known: int"
    assert _unclear_functions(ast.parse(source)) == ["_known", "go_on"]


def test_a_class_of_the_daemon_has_a_name_of_its_own() -> None:
    names = Counter(n for p in MODULES if _station(_module(p)) in DAEMON for n in _public_classes(_tree(p)))
    assert names
    assert [name for name, number in names.items() if number > 1] == []


def test_no_builtin_is_shadowed() -> None:
    assert _offenders(lambda path: _shadowed(_tree(path))) == {}


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("help = 1", ["help"]),
        ("def f(id): pass", ["id"]),
        ("f = [type for type in x]", ["type"]),
        ("from m import x as format", ["format"]),
        ("def open(): pass", ["open"]),
        ("class A:\n    def f(self, exit): pass", ["exit"]),
        ("class A:\n    help: str\n    def open(self): pass", []),
        ("diagnostic(help=remedy).help", []),
    ],
)
def test_a_shadowed_builtin_is_found(source: str, names: list[str]) -> None:
    assert _shadowed(ast.parse(source)) == names


def test_a_running_daemon_imports_nothing() -> None:
    """Each import inside of a function finds a module that is loaded: the daemon may have no descriptor or package then."""
    script = "import sys, schedappliance.boot.appliance; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    loaded = set(done.stdout.split())
    late = []
    for path in PACKAGE.rglob("*.py"):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        functions = [node for node in _nodes(_tree(path)) if isinstance(node, ast.FunctionDef)]
        for node in [node for function in functions for node in ast.walk(function)] if name in loaded else ():
            if isinstance(node, ast.ImportFrom | ast.Import):
                names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [one.name for one in node.names]
                late += [f"{path}:{node.lineno} imports {name}" for name in names if name not in loaded]
    assert late == []
