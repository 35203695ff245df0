"""The documents are complete: they name every option, key and command, and their links work."""

from __future__ import annotations

import re
import shlex
import subprocess
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

from schedappliance.cli.main import SUBCOMMANDS
from schedappliance.diagnostics import CODES
from schedappliance.model.appliance_file import KEYS
from schedappliance.model.commands import FORMS
from schedappliance.model.options import FILES_ONLY, STANZAS
from tests.support.documents import CHECKOUT, DOCS, DOCUMENTS, README, anchors, blocks, links, prose
from tests.test_architecture import STATIONS

MOST_LINES_OF_THE_README = 200
ALL = "".join(path.read_text() for path in DOCUMENTS)
PAGES = (*DOCUMENTS, *(CHECKOUT / f"{name}.md" for name in ("CHANGELOG", "CONTRIBUTING", "SECURITY")))

every_document = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.stem)


def test_the_readme_is_short() -> None:
    assert len(README.read_text().splitlines()) <= MOST_LINES_OF_THE_README


def test_each_of_the_two_commands_of_the_readme_is_on_one_line() -> None:
    install, test = blocks(README.read_text(), "sh")
    assert [command.count("\n") for command in (install, test)] == [1, 1]
    assert install.endswith(" serve --config etc/appliance.yaml\n") and test.endswith("-m pytest\n")


def test_the_index_lists_every_document() -> None:
    listed = set(links((DOCS / "README.md").read_text()))
    assert {path.name for path in DOCS.glob("*.md")} - {"README.md"} <= listed


@pytest.mark.parametrize("document", PAGES, ids=lambda path: path.stem)
def test_every_link_has_a_target(document: Path) -> None:
    for link in links(document.read_text()):
        if link.startswith("https://"):
            continue
        name, _, anchor = link.partition("#")
        target = (document.parent / name).resolve() if name else document
        assert target.exists(), link
        assert target.is_relative_to(CHECKOUT), link
        assert not anchor or anchor in anchors(target.read_text()), link


@every_document
def test_shell_commands_can_be_parsed(document: Path) -> None:
    """Those that no test runs, as they change the machine: at least bash and the command line understand them."""
    for block in blocks(document.read_text(), "sh"):
        subprocess.run(["bash", "-n"], input=block, text=True, check=True)
    for block in (*blocks(document.read_text(), "sh"), *blocks(document.read_text(), "ini")):
        for arguments in re.findall(r"(?:^|[/ =])schedappliance ([^|&>\n]*)", block, re.MULTILINE):
            name, *words = shlex.split(arguments)
            import_module(f"schedappliance.cli.{name}").parse(words)


def test_the_options_that_only_files_set_are_listed_completely() -> None:
    text = (DOCS / "console.md").read_text()
    (sentence,) = re.findall(r"Some options can only be set in the stanza files[^:]*:([^.]*)\.", text)
    assert set(re.findall(r"`(\w+)`", sentence)) == FILES_ONLY | {"Authorization"}


def test_the_documents_name_every_option_key_and_command() -> None:
    stanzas = (DOCS / "stanza-file.md").read_text()
    inner = {name: spec for outer in STANZAS.values() for name, spec in outer.stanzas.items()}
    for name, spec in {**STANZAS, **inner}.items():
        assert f"`{name}" in stanzas.lower()
        for option in spec.options:
            assert f"`{option}`" in stanzas, f"{name}.{option}"
    deployment = (DOCS / "deployment.md").read_text()
    for key in KEYS:
        assert f"| `{key.replace('.', ': ')}` |" in deployment, key
    console = (DOCS / "console.md").read_text()
    for form in FORMS.values():
        assert form.usage in console


def test_the_documents_name_every_subcommand() -> None:
    (usage,) = re.findall(r"^\| `serve` .*?(?=\n\n)", (DOCS / "deployment.md").read_text(), re.MULTILINE | re.DOTALL)
    for name in SUBCOMMANDS:
        assert f"`{name}`" in usage


def test_every_path_in_the_architecture_exists() -> None:
    text = (DOCS / "architecture.md").read_text()
    paths = re.findall(r"`((?:schedappliance|grammar|tests|docs|etc)/[\w./]*)`", text)
    rows = re.findall(r"^\| `(schedappliance/[\w/]+/)` \|.*\| ([^|]+) \|$", text, re.MULTILINE)
    paths += [folder + name for folder, names in rows for name in re.findall(r"`([\w.]+)`", names)]
    assert len(rows) > 10
    assert [path for path in paths if not (CHECKOUT / path).exists()] == []


def test_the_diagrams_of_the_architecture_name_classes_that_exist() -> None:
    """Each word of a message that is written as a class is one, such as an event or an effect."""
    sources = "".join(path.read_text() for path in (CHECKOUT / "schedappliance").rglob("*.py"))
    diagrams = "".join(blocks((DOCS / "architecture.md").read_text(), "mermaid"))
    named = {word for text in re.findall(r">>\w+: (.*)", diagrams) for word in re.findall(r"\b[A-Z][a-z]\w+", text)}
    assert {"LineTyped", "FilesAccepted", "StartProgram"} <= named
    assert named <= set(re.findall(r"^class (\w+)", sources, re.MULTILINE))


def test_every_module_that_a_document_runs_exists() -> None:
    modules = set(re.findall(r"python -m ((?:tests|benchmarks|schedappliance)[\w.]*)", ALL))
    assert [name for name in modules if find_spec(name) is None] == []


def test_every_code_that_is_mentioned_exists() -> None:
    assert set(re.findall(r"\b[EW][1-6]\d\d\b", ALL)) <= set(CODES)


@every_document
def test_lines_of_prose_are_at_most_120_characters_long(document: Path) -> None:
    lines = [line for line in prose(document.read_text()).splitlines() if not line.startswith(("|", "!["))]
    assert [line for line in lines if len(line) > 120] == []


def test_the_workflow_runs_what_contributors_run() -> None:
    workflow = yaml.safe_load((CHECKOUT / ".github" / "workflows" / "ci.yml").read_text())
    commands = [step["run"] for job in workflow["jobs"].values() for step in job["steps"] if "run" in step]
    assert [command for command in commands if command.split()[-1] == ".ci/run"] == commands


def test_commits_are_checked_with_the_tools_of_ci() -> None:
    hooks = yaml.safe_load((CHECKOUT / ".pre-commit-config.yaml").read_text())
    tools = {hook["entry"].split()[0] for repository in hooks["repos"] for hook in repository["hooks"]}
    script = (CHECKOUT / ".ci" / "run").read_text()
    assert tools == {"ruff", "mypy"}
    for tool in tools:
        assert f".venv/bin/{tool}" in script


@pytest.mark.parametrize("path", sorted((CHECKOUT / ".github").rglob("*.yml")), ids=lambda path: path.stem)
def test_a_file_for_the_forge_can_be_read(path: Path) -> None:
    assert isinstance(yaml.safe_load(path.read_text()), dict)


def test_the_architecture_names_every_folder() -> None:
    text = (DOCS / "architecture.md").read_text()
    packages = {path.parent.relative_to(CHECKOUT) for path in (CHECKOUT / "schedappliance").rglob("*.py")}
    named = {Path(name) for name in re.findall(r"`([\w./]+/)`", text)}
    below = {Path("schedappliance"), Path("schedappliance/lint/explanations"), Path("schedappliance/store/queries")}
    assert packages - below <= named
    assert {Path(name) for name in ("grammar", "etc", "tests", "benchmarks", "docs", ".ci", ".github")} <= named
    assert "`explanations/`" in text and "`queries/`" in text


def test_the_packages_are_listed_in_the_order_of_their_imports() -> None:
    text = (DOCS / "architecture.md").read_text()
    listed = re.findall(r"^\| `schedappliance/(\w+)/`", text, re.MULTILINE)
    assert listed == [station for station in STATIONS if (CHECKOUT / "schedappliance" / station).is_dir()]


@pytest.mark.parametrize("document", PAGES, ids=lambda path: path.stem)
def test_every_file_that_is_named_exists(document: Path) -> None:
    """A moved file must be renamed in the documents too."""
    folders = "schedappliance|tests|grammar|etc|benchmarks|docs"
    for name in re.findall(rf"`((?:{folders})/[\w./-]*)`", prose(document.read_text())):
        path = CHECKOUT / name
        assert path.exists() or "CODE" in name or document == DOCS / "tutorial.md", name


def test_the_first_files_to_read_exist() -> None:
    text = (DOCS / "architecture.md").read_text()
    rows = re.findall(r"^\| `(schedappliance/[\w/]+/)` \|.*\| (.*) \|$", text, re.MULTILINE)
    for folder, names in rows:
        for name in re.findall(r"`([\w.]+)`", names):
            assert (CHECKOUT / folder / name).is_file(), f"{folder}{name}"
