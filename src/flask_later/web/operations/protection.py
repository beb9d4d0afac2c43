"""What protects those who look at our pages."""

from __future__ import annotations

#: Our own files and nothing else, whatever a message or a log line holds.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
#: The headers of each of them.
PROTECTION = (
    ("Content-Security-Policy", _POLICY),
    # Not "no-referrer": with that, browsers send forms with "Origin: null", and where they send no
    # Sec-Fetch-Site either, nothing tells our cancel button from one of another site.
    ("Referrer-Policy", "same-origin"),
)
