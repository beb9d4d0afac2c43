"""An app on a machine of its own: runs jobs on native threads until it is told to stop."""

import sys
import time

from flask import Flask

from flask_later import Later

later = Later()


@later.task(name="note")
def note(number: int, seconds: float) -> str:
    time.sleep(seconds)
    return f"{sys.argv[2]}:{number}"


app = Flask("shop")
app.config.update(LATER_STORE=sys.argv[1], LATER_THREADS=3)
later.init_app(app)
later.start(app)
print("ready", flush=True)
sys.stdin.readline()
later.stop(app, 20)
