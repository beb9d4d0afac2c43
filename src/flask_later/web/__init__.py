"""What happens around a request: callbacks after its response, routes that answer later."""
