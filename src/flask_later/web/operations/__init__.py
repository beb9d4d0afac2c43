"""Operations: jobs that clients may follow over HTTP, each a resource of its own."""
