"""One module per form of package; `edgekit.packages.registry` says what each must define."""
