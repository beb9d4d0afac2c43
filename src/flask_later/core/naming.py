"""Names under which another process finds the same module or class.

A file that is run is ``__main__`` here and ``shop.app`` where it is imported. What is stored has
to say the same in both.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType

# multiprocessing runs the main file a second time, under the second name.
_RUN_NAMES = ("__main__", "__mp_main__")


def module_name(module: str) -> str:
    """Return the name under which *module* can be imported elsewhere.

    Only ``__main__`` has another one. A program without a file (a shell, ``python -c``) keeps it:
    nobody else can import it.
    """
    return _program_name() if module in _RUN_NAMES else module


def class_name(cls: type) -> str:
    """Return the ``module:qualname`` that :func:`find_class` takes."""
    return f"{module_name(cls.__module__)}:{cls.__qualname__}"


def find_class(name: str) -> type | None:
    """Return the class called *name*, if its module is loaded already.

    Nothing is imported and no code runs: names may come from stored text, so the way leads through
    ``__dict__`` alone, past every ``__getattr__`` and descriptor. Where the running program has
    also been imported, the copy that runs is found.
    """
    module, _, qualname = name.partition(":")
    for candidate in _loaded_modules(module):
        found = _walk(candidate, qualname)
        if found is not None and class_name(found) == name:
            return found
    return None


def _loaded_modules(name: str) -> Iterator[ModuleType]:
    # A script may be called like a package (bin/shop and shop/), so its name can mean both.
    for key in (*_RUN_NAMES, name) if name == _program_name() else (name,):
        module = sys.modules.get(key)
        # Libraries put all kinds of objects into sys.modules.
        if isinstance(module, ModuleType):
            yield module


def _walk(module: ModuleType, qualname: str) -> type | None:
    found: object = module
    for part in qualname.split("."):
        if not isinstance(found, (ModuleType, type)):
            return None
        found = vars(found).get(part)
    return found if isinstance(found, type) else None


@cache
def _program_name() -> str:
    program = sys.modules.get("__main__")
    spec = getattr(program, "__spec__", None)
    # A directory, a zip file and tools such as coverage run a file under a spec called __main__.
    if spec is not None and spec.name not in _RUN_NAMES:
        return str(spec.name)
    file = getattr(program, "__file__", None)
    return "__main__" if file is None else _name_of_file(Path(file).absolute())


def _name_of_file(path: Path) -> str:
    names = [] if path.stem == "__init__" else [path.stem]
    for folder in path.parents:
        if not (folder / "__init__.py").is_file():
            break
        names.insert(0, folder.name)
    return ".".join(names)
