"""Other people's libraries. Each module registers itself in hooks; nothing imports it."""
