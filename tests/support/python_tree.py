"""Unpacks an archive with Python's own tarfile or zipfile and prints its tree as JSON.

The result is {"files": {path: [sha256, executable]}, "folders": [path]}, relative to the package's root: the archive's
own, or its single top folder. zipfile sets no modes, so for zip archives `executable` is null.
"""

import hashlib
import json
import os
import sys
import tarfile
import tempfile
import zipfile


def unpack(archive, into):
    if zipfile.is_zipfile(archive) and open(archive, "rb").read(2) == b"PK":
        with zipfile.ZipFile(archive) as opened:
            opened.extractall(into)
        return False
    with tarfile.open(archive, "r:gz") as opened:
        if hasattr(tarfile, "data_filter"):
            opened.extractall(into, filter="data")
        else:
            opened.extractall(into)
    return True


def main(archive):
    with tempfile.TemporaryDirectory() as root:
        has_modes = unpack(archive, root)
        if not os.path.exists(os.path.join(root, "plugin.yaml")):
            (top,) = os.listdir(root)
            root = os.path.join(root, top)
        files, folders = {}, []
        for folder, names, leaves in os.walk(root):
            folders += [os.path.relpath(os.path.join(folder, name), root) for name in names]
            for leaf in leaves:
                path = os.path.join(folder, leaf)
                with open(path, "rb") as opened:
                    digest = hashlib.sha256(opened.read()).hexdigest()
                executable = bool(os.lstat(path).st_mode & 0o100) if has_modes else None
                files[os.path.relpath(path, root)] = [digest, executable]
        print(json.dumps({"files": files, "folders": sorted(folders)}))


main(sys.argv[1])
