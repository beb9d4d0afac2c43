"""Serve ``create_app()`` of a module with cheroot, which has no command line for factories."""

from __future__ import annotations

import sys
from importlib import import_module

from cheroot.wsgi import Server

if __name__ == "__main__":
    module, host, port = sys.argv[1:]
    server = Server((host, int(port)), import_module(module).create_app(), numthreads=4)
    try:
        server.start()
    except KeyboardInterrupt:
        server.stop()
