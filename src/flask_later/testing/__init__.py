"""What proves an app, a store or an engine. Import the modules you need; each says what for."""
