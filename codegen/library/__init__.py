"""A library of compiled programs of one model: C sources of what edgekit.library builds."""
