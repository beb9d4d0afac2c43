"""What an OpenAPI document says of async routes and of their operations."""
