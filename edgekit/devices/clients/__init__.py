"""Clients of what flashes chips: bootloaders' protocols, debug servers, update servers, tools."""
