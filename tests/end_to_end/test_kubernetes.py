"""The manifest for Kubernetes: its files are accepted, and an appliance that runs on its ConfigMap follows an update of it."""

from __future__ import annotations

import importlib
import shutil
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
import yaml

from schedappliance.cli.main import main
from tests.support.daemon import Daemon
from tests.support.documents import DOCS, blocks
from tests.support.waiting import eventually

MANIFEST = Path(__file__).parents[2] / "etc/kubernetes/schedappliance.yaml"


@pytest.fixture
def objects() -> dict[str, dict[str, Any]]:
    """The objects of the manifest by their kinds."""
    return {one["kind"]: one for one in yaml.safe_load_all(MANIFEST.read_text())}


def mount(place: Path, version: str, files: dict[str, str]) -> None:
    """Shows files as the kubelet does: their names are links through `..data`, which is replaced at once."""
    (place / version).mkdir()
    for name, text in files.items():
        (place / version / name).write_text(text)
        if not (place / name).is_symlink():
            (place / name).symlink_to(f"..data/{name}")
    before = (place / "..data").readlink() if (place / "..data").is_symlink() else None
    (place / "..data_tmp").symlink_to(version)
    (place / "..data_tmp").rename(place / "..data")
    if before:
        shutil.rmtree(place / before)


def test_the_files_of_the_config_map_have_no_mistake(objects: dict[str, Any], tmp_path: Path) -> None:
    mount(tmp_path, "..2026_01", objects["ConfigMap"]["data"])
    assert main(["lint", str(tmp_path)]) == 0


def test_an_appliance_on_the_config_map_follows_an_update_of_it(daemon: Daemon, objects: dict[str, Any]) -> None:
    places = {"/run/schedappliance": str(daemon.var), "/var/lib/schedappliance": str(daemon.var)}

    def files(**changes: str) -> dict[str, str]:
        files = dict(objects["ConfigMap"]["data"])
        for old, new in (places | changes).items():
            assert any(old in text for text in files.values()), old
            files = {name: text.replace(old, new) for name, text in files.items()}
        return files

    shutil.rmtree(daemon.etc)
    daemon.etc.mkdir()
    mount(daemon.etc, "..2026_01", files())
    daemon.start()
    assert "greeting" in daemon.say("sched list")
    mount(daemon.etc, "..2026_02", files(greeting="welcome"))
    eventually(lambda: "welcome" in daemon.say("sched list"), "the reload")
    assert daemon.run("sched run welcome")["state"] == "succeeded"
    daemon.assert_healthy()


def test_what_the_appliance_writes_is_on_volumes_and_the_probes_exist(objects: dict[str, Any]) -> None:
    pod = objects["StatefulSet"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    mounts = {volume["mountPath"]: volume for volume in container["volumeMounts"]}
    named = {volume["name"] for volume in pod["volumes"]} | {"state"}
    assert {volume["name"] for volume in mounts.values()} == named
    assert not any("subPath" in volume for volume in mounts.values())
    files = yaml.safe_load(objects["ConfigMap"]["data"]["appliance.yaml"])
    for path in (files["console"]["listen"], files["spool"]["path"], "/var/lib/schedappliance/sched.db"):
        assert any(PurePosixPath(path).is_relative_to(point) for point, v in mounts.items() if not v.get("readOnly"))
    commands = [container[f"{probe}Probe"]["exec"]["command"][1:] for probe in ("startup", "liveness", "readiness")]
    for name, *words in (*commands, container["args"]):
        importlib.import_module(f"schedappliance.cli.{name}").parse(words)


def test_the_page_is_a_container_with_the_restrictions_of_the_appliance(objects: dict[str, Any]) -> None:
    """The one that docs/deployment.md shows."""
    (block,) = (block for block in blocks((DOCS / "deployment.md").read_text(), "") if "name: page" in block)
    (page,) = yaml.safe_load(block)
    (appliance,) = objects["StatefulSet"]["spec"]["template"]["spec"]["containers"]
    assert (page["image"], page["securityContext"]) == (appliance["image"], appliance["securityContext"])
    places = {(volume["name"], volume["mountPath"]) for volume in appliance["volumeMounts"]}
    assert {(volume["name"], volume["mountPath"]) for volume in page["volumeMounts"]} <= places
    assert all(volume["readOnly"] for volume in page["volumeMounts"])
    name, *words = page["args"]
    importlib.import_module(f"schedappliance.cli.{name}").parse(words)
