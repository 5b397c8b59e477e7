"""Packages for a script, without asking anyone to install them first.

    from venv import ensure
    ensure(["numpy==2.3.5"])
    import numpy

On first use the script's packages are installed into a virtual environment of their own in the
cache folder (`$XDG_CACHE_HOME/tics-scripts/`, by default `~/.cache/tics-scripts/`); the script then
runs again inside it. Nothing else on the machine changes, and deleting the folder undoes it.

The standard library has a module of this name too. It is needed here only as a program, which is
why it is started isolated from this folder.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path


def ensure(packages, dependencies=True):
    """Continues only in an environment that has the packages; else makes it and starts over there.

    packages: requirements as pip takes them, pinned (`name==version`), so that a script gives the
    same result tomorrow. dependencies: False installs these alone, for packages whose own
    requirements the script does not use.

    Ends the program with status 2 and one line when they cannot be installed.
    """
    key = repr((sys.version_info[:2], sys.executable, sorted(packages), dependencies))
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tics-scripts"
    # Inside, sys.executable is the environment's own, so the way in is told by the prefix.
    if Path(sys.prefix).resolve().parent == cache.resolve():
        return
    folder = cache / hashlib.sha256(key.encode()).hexdigest()[:16]
    python = folder / "bin" / "python"
    cache.mkdir(parents=True, exist_ok=True)
    with open(cache / "lock", "w") as lock:
        # Two scripts started together must not fill one folder.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "complete").exists():
            _install(folder, python, packages, dependencies)
    sys.stdout.flush()
    os.execv(python, [str(python), *sys.argv])


def _install(folder, python, packages, dependencies):
    print(f"installing {', '.join(packages)} into {folder}", file=sys.stderr)
    shutil.rmtree(folder, ignore_errors=True)
    pip = [python, "-I", "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    if not dependencies:
        pip.append("--no-deps")
    for command in ([sys.executable, "-I", "-m", "venv", folder], [*pip, *packages]):
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            lines = (done.stderr or done.stdout).strip().splitlines()
            print(
                f"cannot install {', '.join(packages)} into {folder}: {lines[-1] if lines else 'no reason given'}; "
                "is a package index reachable, and the Python venv module installed?",
                file=sys.stderr,
            )
            sys.exit(2)
    (folder / "complete").touch()
