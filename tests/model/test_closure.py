"""A stanza file with everything it includes: files, directories, circles, and what is missing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from schedappliance.model.closure import MAX_INCLUDED, Block, Closure, Setting, read_closure
from schedappliance.model.files import read_regular
from schedappliance.syntax.text import MAX_BYTES
from tests.support.diagnostics import codes, pointed
from tests.support.memory_files import FOLDER, ROOT, held


def _closure(folder: Path, **files: str) -> Closure:
    """The closure of `a.conf` among these files; `d__x` is `d/x.conf`."""
    for name, text in files.items():
        path = folder / f"{name.replace('__', '/')}.conf"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return read_closure(folder / "a.conf")


def _keys(closure: Closure) -> list[str]:
    return [item.option.key.value if isinstance(item, Setting) else item.stanza.key.value for item in closure.items]


def test_an_included_file_replaces_its_include(tmp_path: Path) -> None:
    closure = _closure(tmp_path, a="x = 1 include b.conf z = 3", b="y = 2 readonly_include 'c.conf'", c="s { }")
    assert (_keys(closure), closure.diagnostics) == (["x", "y", "s", "z"], [])
    assert [path.name for path in closure.texts] == ["a.conf", "b.conf", "c.conf"]


def test_an_include_inside_a_stanza_adds_to_its_body(tmp_path: Path) -> None:
    closure = _closure(tmp_path, a="s { x = 1 include b.conf }", b="y = 2")
    (block,) = closure.items
    assert isinstance(block, Block)
    assert [item.source.name for item in block.body] == [str(tmp_path / "a.conf"), str(tmp_path / "b.conf")]


def test_a_path_starts_at_the_directory_of_the_including_file(tmp_path: Path) -> None:
    assert _keys(_closure(tmp_path, a="include d/b.conf", d__b="include c.conf", d__c="y = 1")) == ["y"]
    assert _keys(_closure(tmp_path, a=f"include '{tmp_path}/d/c.conf'")) == ["y"]


def test_a_directory_means_its_files_in_order_without_dot_files_and_subdirectories(tmp_path: Path) -> None:
    (tmp_path / "d" / "sub.conf").mkdir(parents=True)
    closure = _closure(tmp_path, a="include d", d__c="c = 1", d__b="b = 1", **{"d__.hidden": "h = 1"})
    assert (_keys(closure), closure.diagnostics) == (["b", "c"], [])
    assert closure.listed == [tmp_path / "d"]


def test_an_empty_directory_and_an_empty_file_include_nothing(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    assert (
        _closure(tmp_path, a="include d include b.conf", b="").items,
        read_closure(tmp_path / "a.conf").diagnostics,
    ) == (
        (),
        [],
    )


def test_a_missing_include_is_an_error_at_the_include(tmp_path: Path) -> None:
    closure = _closure(tmp_path, a="x = 1\ninclude 'no.conf'\ny = 2")
    (mistake,) = closure.diagnostics
    assert (mistake.code, pointed(mistake)) == ("E305", "'no.conf'")
    assert _keys(closure) == ["x", "y"]


def test_a_missing_root_has_its_own_code() -> None:
    closure = read_closure(ROOT, held({}))
    assert codes(closure.diagnostics) == ["E307"]


@pytest.mark.parametrize(
    ("files", "circle"),
    [
        ({"a": "include a.conf"}, "a.conf -> a.conf"),
        ({"a": "include b.conf", "b": "include c.conf", "c": "include b.conf"}, "b.conf -> c.conf -> b.conf"),
        ({"a": "s { include ./b.conf }", "b": "t { include d/../a.conf }"}, "a.conf -> b.conf -> a.conf"),
        ({"a": "include d", "d__b": "include ../a.conf"}, "a.conf -> b.conf -> a.conf"),
    ],
)
def test_a_circle_is_shown(tmp_path: Path, files: dict[str, str], circle: str) -> None:
    (mistake,) = _closure(tmp_path, **files).diagnostics
    assert mistake.code == "E306"
    assert circle in mistake.message


def test_a_circle_through_a_symbolic_link_ends(tmp_path: Path) -> None:
    (tmp_path / "b.conf").symlink_to("a.conf")
    closure = _closure(tmp_path, a="include b.conf")
    assert set(codes(closure.diagnostics)) == {"E306"}


def test_a_link_to_itself_in_an_included_directory_is_named(tmp_path: Path) -> None:
    (tmp_path / "inc").mkdir()
    (link := tmp_path / "inc" / "b.conf").symlink_to("b.conf")
    (mistake,) = _closure(tmp_path, a="include inc").diagnostics
    assert (mistake.code, mistake.message) == ("E305", f"cannot read `{link}`: Too many levels of symbolic links")


def test_a_file_may_be_included_twice_where_there_is_no_circle(tmp_path: Path) -> None:
    closure = _closure(tmp_path, a="s { include b.conf } t { include b.conf }", b="x = 1")
    assert closure.diagnostics == []
    assert [len(item.body) for item in closure.items if isinstance(item, Block)] == [1, 1]


def test_mistakes_of_all_files_are_collected(tmp_path: Path) -> None:
    closure = _closure(tmp_path, a="include b.conf include c.conf x = 1", b="s {", c="y = ")
    assert [(d.code, Path(d.source.name).name) for d in closure.diagnostics] == [("E102", "b.conf"), ("E116", "c.conf")]


def test_a_fifo_a_directory_and_a_device_are_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "b.conf")
    (mistake,) = _closure(tmp_path, a="include b.conf").diagnostics
    assert (mistake.code, "not a regular file" in mistake.message) == ("E305", True)
    for path in (tmp_path, Path("/dev/null")):
        with pytest.raises(OSError):
            read_regular(path)


@pytest.mark.parametrize("path", ["/proc/kmsg", "/proc/self/status", "/proc/self/mem"])
def test_a_file_that_the_kernel_makes_is_not_read(path: str, tmp_path: Path) -> None:
    """Reading /proc/kmsg waits for the next message of the kernel."""
    (mistake,) = _closure(tmp_path, a=f'include "{path}"').diagnostics
    assert mistake.code == "E305"


def test_files_that_include_each_other_twice_are_counted() -> None:
    """25 of them are 33 million includes. Each is read and parsed once, and the limit is told once."""
    files: dict[str, str | bytes] = {f"{n}.conf": f"include {n + 1}.conf " * 2 for n in range(25)}
    closure = read_closure(FOLDER / "0.conf", held({**files, "25.conf": "x = 1"}))
    assert codes(closure.diagnostics) == ["E108"]
    assert len(closure.texts) == 26


def test_the_included_text_is_limited() -> None:
    """A file counts as often as it is included."""
    text = f"# {'x' * (MAX_INCLUDED // 100)}"
    closure = read_closure(FOLDER / "a.conf", held({"a.conf": "include b.conf " * 200, "b.conf": text}))
    assert [d.message for d in closure.diagnostics] == [
        f"the included files have more than {MAX_INCLUDED:,} characters together"
    ]


def test_the_mistakes_of_a_file_are_told_once_however_often_it_is_included(tmp_path: Path) -> None:
    closure = _closure(tmp_path, a="include b.conf include b.conf", b="y = ")
    assert codes(closure.diagnostics) == ["E116"]


def test_at_most_one_byte_over_the_limit_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.conf"
    with path.open("wb") as file:
        file.truncate(2 * MAX_BYTES)
    assert len(read_regular(path)) == MAX_BYTES + 1
    assert codes(read_closure(path).diagnostics) == ["E108"]


def test_a_file_that_is_nested_too_deeply_is_one_mistake() -> None:
    closure = read_closure(ROOT, held({"sched.conf": "a {\n" * 2000 + "}" * 2000}))
    assert codes(closure.diagnostics) == ["E108"]


def test_a_long_chain_of_includes_never_raises() -> None:
    files: dict[str, str | bytes] = {f"{n}.conf": f"include {n + 1}.conf" for n in range(1000)}
    closure = read_closure(FOLDER / "0.conf", held(files))
    assert closure.diagnostics


def test_a_path_that_is_too_long_is_a_mistake(tmp_path: Path) -> None:
    closure = _closure(tmp_path, a=f"include {'x' * 300}")
    assert codes(closure.diagnostics) == ["E305"]
