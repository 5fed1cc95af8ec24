"""Forms of packages that bring compiled libraries: one module each, as `edgekit.packages.forms`."""
