"""Names of files and folders of operating systems and file managers, which are never read."""

from __future__ import annotations

import re
from collections.abc import Sequence

# Compared without regard to case, as macOS and Windows do, which write most of them.
_FILES = frozenset(
    {
        *(".ds_store", ".localized", "icon\r", ".apdisk", ".volumeicon.icns"),  # macOS
        *("thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini"),  # Windows
        *(".directory", ".nomedia"),  # KDE, Android
        *(".picasa.ini", "picasa.ini"),
    }
)
_FOLDERS = frozenset(
    {
        *("__macosx", ".appledouble", ".appledb", ".appledesktop", ".fseventsd"),  # macOS
        *(".spotlight-v100", ".documentrevisions-v100", ".temporaryitems", ".trashes", ".trash"),
        "network trash folder",
        *("$recycle.bin", "system volume information"),  # Windows
        *(".thumbnails", ".sh_thumbnails", "lost+found"),  # Linux
        *("@eadir", "#recycle", "@recycle", "#snapshot", ".@__thumb"),  # Synology, QNAP
        *(".ipynb_checkpoints", ".stfolder", ".stversions", ".dropbox.cache"),
    }
)
_FILE_KINDS = re.compile(r"\._.+|\.fuse_hidden.*|\.nfs[0-9a-f]+|thumbs\.db:.*", re.DOTALL)
_FOLDER_KINDS = re.compile(r"\.trash-\d+|found\.\d{3}")


def is_system_file(name: str) -> bool:
    """Whether a file of this name, without its folders, was left by a system."""
    folded = name.casefold()
    return folded in _FILES or bool(_FILE_KINDS.fullmatch(folded))


def is_system_folder(name: str) -> bool:
    """Whether a folder of this name was left by a system, with all that is in it."""
    folded = name.casefold()
    return folded in _FOLDERS or bool(_FOLDER_KINDS.fullmatch(folded))


def left_by_system(parts: Sequence[str]) -> bool:
    """Whether a file or one of its folders is a system's. parts: of its path below the folder,
    archive or bundle that was named."""
    return is_system_file(parts[-1]) or any(is_system_folder(folder) for folder in parts[:-1])
