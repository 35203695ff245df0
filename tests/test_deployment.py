"""The Dockerfile and the Ansible play, as their own tools judge them. No image is built and no machine is changed."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from packages.build import build_wheel
from schedappliance import __version__
from tests.support.dockerfile import DOCKERFILE, copied, copy_source, instructions
from tests.support.documents import CHECKOUT


def test_hadolint_accepts_the_dockerfile() -> None:
    done = subprocess.run([tool("hadolint"), DOCKERFILE], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done


def test_the_image_does_not_run_as_root() -> None:
    assert instructions("USER") == ["10001:10001"]
    assert instructions("ENTRYPOINT") == ['["schedappliance"]']


def test_docker_gets_only_what_the_dockerfile_copies() -> None:
    """Without this, it would get a virtual environment, the history and the packages: hundreds of megabytes."""
    lines = (CHECKOUT / ".dockerignore").read_text().splitlines()
    assert "*" in lines
    assert {line[1:] for line in lines if line.startswith("!")} == {name for name, _ in copied()}


@pytest.mark.slow
def test_the_dockerfile_copies_what_the_wheel_needs(tmp_path: Path) -> None:
    source = tmp_path / "source"
    copy_source(source)
    of_image = build_wheel(tmp_path / "image", source)
    of_checkout = build_wheel(tmp_path / "checkout")
    assert contents(of_image) == contents(of_checkout)


def contents(wheel: Path) -> dict[str, int]:
    """The names and the checksums of the files of a wheel. RECORD lists them."""
    with zipfile.ZipFile(wheel) as archive:
        return {entry.filename: entry.CRC for entry in archive.infolist() if not entry.filename.endswith("/RECORD")}


def test_ansible_accepts_the_play(tmp_path: Path) -> None:
    command: list[str | Path] = [
        tool("ansible-playbook"),
        "--syntax-check",
        CHECKOUT / "etc/ansible/schedappliance.yml",
    ]
    env = os.environ | {"ANSIBLE_HOME": str(tmp_path), "ANSIBLE_LOCALHOST_WARNING": "false"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done


def test_the_examples_name_the_present_version() -> None:
    assert (
        f"package: schedappliance_{__version__}_amd64.deb" in (CHECKOUT / "etc/ansible/schedappliance.yml").read_text()
    )
    manifest = (CHECKOUT / "etc/kubernetes/schedappliance.yaml").read_text()
    assert f"image: example.com/schedappliance:{__version__}\n" in manifest


def tool(name: str) -> Path:
    """A tool of the extra `test`."""
    path = Path(sys.executable).parent / name
    if not path.exists():
        pytest.skip(f"needs {name}")
    return path
