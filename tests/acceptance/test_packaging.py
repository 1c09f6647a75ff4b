"""The wheel, installed where nothing else of this repository is."""

import os
import subprocess
import sys
import venv
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers import public_folder

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with public_folder() as made:
        yield made


@pytest.fixture(scope="module")
def wheel(folder: Path) -> Path:
    """The wheel, built by the tool that users' pip calls."""
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(ROOT)]
    subprocess.run(pip, check=True)
    (built,) = folder.glob("spane_otel-*.whl")
    return built


@pytest.fixture(scope="module")
def installed(folder: Path, wheel: Path) -> Path:
    """The folder of programs of a clean virtual environment with the wheel and its extra `all`."""
    venv.create(folder / "venv", with_pip=True)
    programs = folder / "venv" / "bin"
    subprocess.run([str(programs / "python"), "-m", "pip", "install", "--quiet", f"{wheel}[all]"], check=True)
    return programs


def run(program: Path, *arguments: str, cwd: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(program), *arguments],
        cwd=cwd,
        env={"PATH": "/usr/bin:/bin", "HOME": str(cwd), "LC_ALL": "C.UTF-8", **environ},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def test_the_wheel_holds_everything_that_is_read_at_run_time(wheel: Path) -> None:
    """Every file below spane_otel/ and sql/, and nothing else but its own metadata."""
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    there = [
        path.relative_to(ROOT)
        for folder in ("spane_otel", "sql")
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and path.parent.name != "__pycache__"
    ]
    wanted = {f"spane_otel/_{path}" if path.parts[0] == "sql" else str(path) for path in there}
    assert any(name.startswith("spane_otel/_sql/migrations/") for name in wanted)
    assert any(name.startswith("spane_otel/server/ui/static/") for name in wanted)
    assert "spane_otel/py.typed" in wanted
    assert packed == wanted


def test_migrate_works_from_the_wheel(installed: Path, folder: Path, postgres_url: str) -> None:
    done = run(installed / "spane-otel", "migrate", cwd=folder, SPANE_DATABASE_URL=postgres_url)
    assert done.returncode == 0, done.stderr
    assert "is up to date" in done.stdout


def test_the_demo_runs_once_from_the_wheel(installed: Path, folder: Path) -> None:
    """With the embedded database, as root the one that runs as nobody."""
    data = folder / "data"
    ports = ("--port", "0", "--otlp-http-port", "0")
    done = run(installed / "spane-otel", "demo", "--once", *ports, "--data-dir", str(data), cwd=folder)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("ready ui=http://127.0.0.1:")
    assert any(line.startswith("execution ") for line in lines[1:]), lines
    assert not (data / "postgres" / "postmaster.pid").exists()


def test_the_pages_come_from_the_wheel(installed: Path, folder: Path) -> None:
    """Templates and static files are found beside the code, not in a working copy."""
    program = (
        "from importlib.resources import files\n"
        "ui = files('spane_otel.server.ui')\n"
        "print(*(sum(1 for each in ui.joinpath(name).iterdir()) for name in ('static', 'templates')), ui)"
    )
    done = run(installed / "python", "-c", program, cwd=folder)
    assert done.returncode == 0, done.stderr
    static, templates, place = done.stdout.split(maxsplit=2)
    assert int(static) > 0
    assert int(templates) > 0
    assert Path(place.strip()).is_relative_to(folder)


def test_without_the_extra_a_command_says_which_it_lacks(wheel: Path, folder: Path) -> None:
    site = folder / "bare"
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "--target", str(site), str(wheel)], check=True)
    options = ("-m", "spane_otel.cli.main", "serve", "--store", "embedded")
    done = run(Path(sys._base_executable), *options, cwd=folder, PYTHONPATH=str(site))  # type: ignore[attr-defined] # typeshed lacks it
    assert done.returncode == 2
    assert "pip install 'spane-otel[embedded]'" in done.stderr
    assert os.linesep.join(done.stderr.splitlines()[:1]) == done.stderr.strip()
