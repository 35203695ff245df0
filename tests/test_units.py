"""The files of etc/systemd, as systemd judges them without running them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ETC = Path(__file__).parents[1] / "etc"
UNIT = "schedappliance.service"
PAGE = "schedappliance-web.service"

pytestmark = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")


# The exposure is that of systemd 252, in tenths: 100 is the worst. cron.service of Debian has 96.
@pytest.mark.parametrize(
    ("name", "drop_in", "exposure"), [(UNIT, "", 35), (UNIT, "strict", 14), (UNIT, "root", 54), (PAGE, "", 4)]
)
def test_systemd_accepts_the_unit_and_finds_it_little_exposed(
    tmp_path: Path, name: str, drop_in: str, exposure: int
) -> None:
    for file in (UNIT, PAGE):
        # The package is not installed here.
        text = (ETC / "systemd" / file).read_text().replace("/usr/bin/schedappliance", "/bin/true")
        (tmp_path / file).write_text(text)
    shutil.copy(ETC / "systemd/schedappliance-web.socket", tmp_path)
    unit = tmp_path / name
    if drop_in:
        (tmp_path / f"{UNIT}.d").mkdir()
        shutil.copy(ETC / f"systemd/{UNIT}.d/{drop_in}.conf", tmp_path / f"{UNIT}.d")
    for command in (["verify"], ["security", "--offline=yes", f"--threshold={exposure}"]):
        result = subprocess.run(
            ["systemd-analyze", *command, unit], capture_output=True, text=True, timeout=60, check=False
        )
        assert result.returncode == 0, result
        assert command != ["verify"] or result.stdout + result.stderr == ""


def test_each_line_of_the_unit_has_its_reason_in_the_documents() -> None:
    deployment = (ETC.parent / "docs/deployment.md").read_text()
    for file in (ETC / "systemd").rglob("*.*"):
        for line in file.read_text().splitlines() if file.is_file() else []:
            name, is_setting, _ = line.partition("=")
            if is_setting and name not in ("Description", "Documentation"):
                assert f"`{name}=" in deployment, line
