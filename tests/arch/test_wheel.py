"""What is installed is what is in the repository."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from tests.arch.source_tree import REPOSITORY, SOURCE_ROOTS, module_name, package_files


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this working tree."""
    directory = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir"]
    command += [str(directory), str(REPOSITORY)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    (path,) = directory.glob("hotplate-*.whl")
    return path


@pytest.mark.slow
def test_the_wheel_holds_every_file_and_nothing_else(wheel: Path) -> None:
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    expected = {
        path.relative_to(root).as_posix()
        for root in SOURCE_ROOTS
        for path in root.rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    assert names == expected
    assert "hotplate/py.typed" in names
    assert "hotplate/tiers/FORMAT.md" in names


@pytest.mark.slow
def test_the_wheel_works_from_a_clean_environment_in_another_directory(
    wheel: Path, tmp_path: Path
) -> None:
    environment = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
    python = str(environment / "bin" / "python")
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    run(*install, str(wheel), cwd=tmp_path)

    assert "serve" in run(str(environment / "bin" / "hotplate"), "--help", cwd=tmp_path)
    modules = ", ".join(module_name(path) for path in package_files() if is_importable(path))
    where = run(python, "-c", f"import {modules}; print(hotplate.limits.__file__)", cwd=tmp_path)
    assert where.startswith(str(environment))


def is_importable(path: Path) -> bool:
    """False for what needs an extra, and for what runs when it is imported."""
    return path.stem != "__main__" and not {"demo", "engines"} & set(path.parts)


def run(*command: str, cwd: Path) -> str:
    """Its standard output; it must succeed. No PYTHONPATH leads it back to the working tree."""
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    result = subprocess.run(
        command, cwd=cwd, env=clean, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, f"{command}\n{result.stdout}{result.stderr}"
    return result.stdout
