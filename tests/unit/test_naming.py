"""What is stored names a class alike in the process that runs a file and in one that imports it."""

from __future__ import annotations

import os
import subprocess
import sys
from enum import Enum
from pathlib import Path
from types import ModuleType

import pytest

from flask_later.core import naming
from flask_later.core.naming import class_name, find_class, module_name

PROGRAM = """
import enum, sys
from flask_later.core.naming import class_name, find_class, module_name

class Colour(enum.Enum):
    RED = 1

def show():
    found = find_class(class_name(Colour)) is Colour
    print(__name__, module_name(__name__), class_name(Colour), found)
"""
SOURCE = Path(naming.__file__).parents[2]


class Colour(Enum):
    RED = 1


def run(folder: Path, *arguments: str) -> list[str]:
    """Run python in *folder* and return the words it prints."""
    path = os.pathsep.join([str(folder), str(SOURCE)])
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with the same program as a module, in a package, and as a package's main."""
    shop = tmp_path / "shop" / "web"
    shop.mkdir(parents=True)
    main = f"{PROGRAM}\nif __name__ == '__main__':\n    show()\n"
    for file in (tmp_path / "app.py", shop / "app.py", shop / "__main__.py"):
        file.write_text(main)
    for file in (shop / "__init__.py", shop.parent / "__init__.py"):
        file.write_text("")
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "module"),
    [
        (["app.py"], "app"),
        (["-m", "app"], "app"),
        (["shop/web/app.py"], "shop.web.app"),
        (["-m", "shop.web.app"], "shop.web.app"),
        (["-m", "shop.web"], "shop.web.__main__"),
        (["shop/web/__main__.py"], "shop.web.__main__"),
        (["shop/web"], "shop.web.__main__"),
    ],
)
def test_a_program_has_the_name_it_is_imported_by(
    project: Path, arguments: list[str], module: str
) -> None:
    assert run(project, *arguments) == ["__main__", module, f"{module}:Colour", "True"]
    imported = run(project, "-c", f"import {module} as program; program.show()")
    assert imported == [module, module, f"{module}:Colour", "True"]


def test_a_program_without_a_file_keeps_its_name(project: Path) -> None:
    words = run(project, "-c", f"{PROGRAM}\nshow()")
    assert words == ["__main__", "__main__", "__main__:Colour", "True"]


def test_a_script_called_like_a_package_hides_nothing_of_it(project: Path) -> None:
    """``bin/shop`` runs the package ``shop``: both are called shop."""
    (project / "shop" / "__init__.py").write_text(PROGRAM)
    script = project / "bin" / "shop"
    script.parent.mkdir()
    script.write_text("import shop\nshop.show()\n")
    assert run(project, "bin/shop") == ["shop", "shop", "shop:Colour", "True"]


def test_a_program_that_is_also_imported_is_found_as_it_runs(project: Path) -> None:
    twice = project / "twice.py"
    twice.write_text(f"{PROGRAM}\nif __name__ == '__main__':\n    show()\n    import twice\n"
                     "    twice.show()\n")  # fmt: skip
    assert run(project, "twice.py") == [
        *("__main__", "twice", "twice:Colour", "True"),
        *("twice", "twice", "twice:Colour", "False"),
    ]


def test_a_spawned_process_names_the_program_alike(project: Path) -> None:
    """multiprocessing runs the main file once more, as ``__mp_main__``."""
    (project / "spawn.py").write_text(
        f"{PROGRAM}\nif __name__ == '__main__':\n"
        "    import multiprocessing\n"
        "    child = multiprocessing.get_context('spawn').Process(target=show)\n"
        "    child.start(); child.join()\n"
    )
    assert run(project, "spawn.py") == ["__mp_main__", "spawn", "spawn:Colour", "True"]


def test_other_modules_keep_their_name() -> None:
    assert module_name("shop.app") == "shop.app"


def test_a_class_is_found_by_its_name() -> None:
    assert class_name(Colour) == f"{__name__}:Colour"
    assert find_class(class_name(Colour)) is Colour


@pytest.mark.parametrize(
    "name",
    [
        "",
        ":",
        "json",
        "json:",
        ":Colour",
        "json:nothing",
        "json:loads",
        "json:JSONDecoder",
        "os:path",
    ],
)
def test_what_is_no_class_of_that_name_is_not_found(name: str) -> None:
    assert find_class(name) is None


def test_looking_for_a_class_runs_no_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """A module may import on access: stored text must not make it."""
    lazy = ModuleType("lazy")
    lazy.__dict__["__getattr__"] = pytest.fail
    monkeypatch.setitem(sys.modules, "lazy", lazy)
    assert find_class("lazy:Colour") is None


def test_odd_things_among_the_modules_are_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "odd", object())  # type: ignore[arg-type]
    monkeypatch.setitem(sys.modules, "blocked", None)  # type: ignore[arg-type]
    assert find_class("odd:Colour") is None
    assert find_class("blocked:Colour") is None
