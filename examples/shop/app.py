"""A small shop: run it with ``flask run`` or ``gunicorn "app:create_app()"`` in this folder."""

from __future__ import annotations

import os
from pathlib import Path

from api import api
from flask import Flask
from tasks import later
from views import shop


def create_app() -> Flask:
    app = Flask(__name__, instance_path=os.environ.get("SHOP_INSTANCE"))
    app.config.from_prefixed_env()
    Path(app.instance_path, "outbox").mkdir(parents=True, exist_ok=True)
    app.register_blueprint(shop)
    app.register_blueprint(api)
    later.init_app(app)
    return app
