"""What an OpenAPI document says of async routes and of their operations."""

#: On views whose body runs in a job. What wraps them with functools.wraps has it as well.
ASYNC_ROUTE = "_later_is_async_route"
