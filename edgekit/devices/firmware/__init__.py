"""Programs for boards: sources put together, compiled, linked, and read as images of flash."""
