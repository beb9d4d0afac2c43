"""Who brings work to a worker."""
