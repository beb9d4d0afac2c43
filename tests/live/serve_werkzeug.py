"""``app.run()`` in a file of its own: what the words say, as ``debug`` or ``processes``."""

from __future__ import annotations

import os
import sys

from app import create_app

if __name__ == "__main__":
    word, host, port = sys.argv[1:]
    if word == "debug":
        watched = [os.environ["LIVE_WATCHED"]]
        create_app().run(host, int(port), debug=True, extra_files=watched)
    else:
        create_app().run(host, int(port), threaded=False, processes=3)
