"""Values, rules and the two ports: no Flask, no I/O, no clock of its own."""
