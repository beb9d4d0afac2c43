"""What lives in a process: the threads, the worker, maintenance, services, start and stop."""
