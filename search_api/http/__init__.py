"""The service: the use cases over HTTP. The only package that knows FastAPI. See README.md."""
