"""Unpacks the newest restic of Debian's later suites to FOLDER/restic-<suite>/usr/bin/restic.

The source is this machine's own apt configuration with the suite replaced, in a private list:
nothing of the system's apt state is changed. Exit status 0 when there is one, 1 (with a note)
when there is not.
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path

APT = Path("/etc/apt")
LATER_SUITES = ("sid", "testing", "stable")


def codename() -> str:
    found = re.search(r"^VERSION_CODENAME=(\w+)", Path("/etc/os-release").read_text(), re.MULTILINE)
    return found.group(1) if found else "stable"


def archive(own_suite: str) -> tuple[str, str] | None:
    """(URI, options in brackets) of the entry that names `own_suite` itself."""
    for listing in [APT / "sources.list", *sorted((APT / "sources.list.d").glob("*.list"))]:
        if not listing.exists():
            continue
        for line in listing.read_text().splitlines():
            entry = re.match(rf"deb\s+(\[[^\]]*\])?\s*(\S+)\s+{own_suite}\s", line)
            if entry:
                return entry.group(2), entry.group(1) or ""
    for listing in sorted((APT / "sources.list.d").glob("*.sources")):
        for stanza in re.split(r"\n\s*\n", listing.read_text()):
            fields = dict(re.findall(r"^([A-Za-z-]+):[ \t]*(\S.*)$", stanza, re.MULTILINE))
            if own_suite in fields.get("Suites", "").split() and "URIs" in fields:
                signed_by = fields.get("Signed-By")
                return fields["URIs"].split()[0], f"[signed-by={signed_by}]" if signed_by else ""
    return None


def unpack(folder: Path, suite: str, uri: str, options: str) -> Path | None:
    """The binary of `suite`, or None where the archive does not have it or does not answer."""
    work = folder / f"apt-{suite}"
    for name in ("lists/partial", "archives/partial"):
        (work / name).mkdir(parents=True, exist_ok=True)
    sources = work / "sources.list"
    sources.write_text(f"deb {options} {uri} {suite} main\n")
    apt = ["apt-get", "-qq"]
    for setting in (
        f"Dir::Etc::SourceList={sources.resolve()}",
        "Dir::Etc::SourceParts=/dev/null",
        f"Dir::State::Lists={(work / 'lists').resolve()}",
        f"Dir::Cache={work.resolve()}",
        "Acquire::Languages=none",
        "Acquire::http::Timeout=10",
        "Acquire::Retries=1",
        "APT::Sandbox::User=root",
    ):
        apt += ["-o", setting]
    target = folder / f"restic-{suite}"
    try:
        subprocess.run([*apt, "update"], check=True, capture_output=True, timeout=120)
        subprocess.run(
            [*apt, "download", "restic"], check=True, capture_output=True, timeout=120, cwd=work
        )
        package = next(work.glob("restic_*.deb"))
        subprocess.run(["dpkg-deb", "-x", package, target], check=True, capture_output=True)
    except (subprocess.SubprocessError, OSError, StopIteration):
        return None
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return target / "usr" / "bin" / "restic"


def main() -> int:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for suite in LATER_SUITES:
        binary = folder / f"restic-{suite}" / "usr" / "bin" / "restic"
        if binary.exists():
            return 0
    found = archive(codename())
    for suite in LATER_SUITES if found else ():
        if binary := unpack(folder, suite, *found):
            version = subprocess.run([binary, "version"], capture_output=True, text=True)
            print(f"newest restic ({suite}): {version.stdout.strip()}")
            return 0
    print("note: no later restic could be fetched; the suites run with the installed one alone")
    return 1


if __name__ == "__main__":
    sys.exit(main())
