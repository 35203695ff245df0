"""The mount table as the kernel writes it."""

from __future__ import annotations

from pathlib import Path

import pytest

from schedappliance.doctor.mounts import Mount, mount_of, parse_mounts

TABLE = r"""22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw,errors=remount-ro
36 22 0:50 / /srv/a\040b rw - nfs4 server:/export\134x rw,vers=4.2
37 22 0:51 / /srv rw master:1 propagate_from:2 - ext4 /dev/sdb1 rw
38 22 0:52 / /srv rw - tmpfs tmpfs rw
39 38 0:53 / /srv/lib rw - fuse.sshfs me@server:/ rw
"""


def test_a_mount_table_is_read_with_optional_fields_and_escapes() -> None:
    first, second, *_ = parse_mounts(TABLE)
    assert first == Mount("/", Path("/"), "ext4", "/dev/sda1", frozenset(["rw", "relatime", "errors=remount-ro"]))
    assert second == Mount("/", Path("/srv/a b"), "nfs4", "server:/export\\x", frozenset(["rw", "vers=4.2"]))
    assert len(parse_mounts(TABLE)) == 5


@pytest.mark.parametrize(
    ("path", "fs_type"),
    [
        ("/var/lib", "ext4"),
        ("/srv/a b/c", "nfs4"),
        ("/srv/a", "tmpfs"),
        ("/srv", "tmpfs"),
        ("/srv/library", "tmpfs"),
        ("/srv/lib/x", "fuse.sshfs"),
    ],
)
def test_the_deepest_and_latest_mount_holds_a_path(path: str, fs_type: str) -> None:
    mount = mount_of(Path(path), parse_mounts(TABLE))
    assert mount is not None and mount.type == fs_type


def test_without_a_table_no_mount_is_known() -> None:
    assert mount_of(Path("/srv"), parse_mounts("")) is None


@pytest.mark.parametrize(
    ("fs_type", "network"),
    [
        *((fs_type, True) for fs_type in ("nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs", "ceph", "lustre", "afs")),
        *(
            (fs_type, True)
            for fs_type in ("coda", "gfs2", "ocfs2", "panfs", "beegfs", "gpfs", "vboxsf", "prl_fs", "drvfs")
        ),
        *((fs_type, True) for fs_type in ("glusterfs", "fuse.glusterfs", "virtiofs")),
        *(
            (fs_type, False)
            for fs_type in ("ext4", "xfs", "btrfs", "tmpfs", "overlay", "zfs", "fuseblk", "fuse.bindfs", "f2fs")
        ),
    ],
)
def test_network_file_systems_are_known_by_their_type(fs_type: str, network: bool) -> None:
    assert Mount("/", Path("/"), fs_type, "x").is_network is network


@pytest.mark.parametrize(
    ("root", "sub_path"),
    [
        ("/var/lib/kubelet/pods/1-2/volumes/kubernetes.io~configmap/etc/..2024_1/sched.conf", True),
        ("/var/lib/kubelet/pods/1-2/volume-subpaths/etc/app/0", True),
        ("/home/me/sched.conf", False),
    ],
)
def test_a_sub_path_of_kubernetes_is_known_by_what_is_mounted(root: str, sub_path: bool) -> None:
    assert Mount(root, Path("/etc/sched.conf"), "ext4", "x").is_sub_path is sub_path
