"""Flask-Later on its SQLite store."""

from __future__ import annotations

from collections.abc import Mapping

from bench.durable.place import Place
from flask_later.config import Settings

from .ours_queue import OursQueue


class Power(OursQueue):
    name = "ours_power"
    durability = "power"

    def settings(self, place: Place) -> Mapping[str, object]:
        settings = {"LATER_STORE": f"sqlite:///{place.file}"}
        if hasattr(Settings, "durability"):
            settings["LATER_DURABILITY"] = self.durability
        return settings


class Process(Power):
    name = "ours_process"
    durability = "process"


class PowerEmbedded(Power):
    embedded = True


class ProcessEmbedded(Process):
    embedded = True
